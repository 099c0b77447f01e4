"""Proposes choices around a constant's present value, by what its name suggests.

They are habits, not findings: a person edits them. It knows no script and writes no file. The present value is always
among the choices, and numbers rise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from search_spaces.expressions import Value
from search_spaces.numbers_around import LINEAR, NEAR_ONE, SHARES, TO_ONE, reals_around, rounded, whole_around

# why a setting is left alone -> words of a name that say so, and whole names
BUDGET = "the budget, since what is compared has to cost the same"
MEASURE = "what the metric is measured on"
CHANCE = "chance, since a lucky seed is no setting"
PLACES = "names, places and what is printed"
MACHINE = "the machine, which is a matter of the profile"
IDS = "numbers that name something, such as a token"
SHAPES = "shapes of the data"
STATE = "what the script itself changes or counts"
TASK = "which model and task it is about"
_LEFT_ALONE = {
    BUDGET: (
        "budget epoch epochs episodes timesteps",
        "max_iters max_iter max_steps num_iterations num_iters num_steps n_steps n_iters n_iter total_steps train_steps "
        "training_steps iterations steps iters lr_decay_iters lr_decay_steps num_updates limit",
    ),
    CHANCE: ("seed seeds", "random_state"),
    MEASURE: (
        "eval evals evaluate evaluation val valid validation test vocab data dataset datasets corpus shard shards tokenizer split "
        "splits fold folds prompt prompts points examples rows difficulty generate chars characters alphabet letters",
        "max_seq_len max_seq_length seq_len seq_length sequence_length sequence_len block_size context_length "
        "context_size context_len ctx_len n_ctx num_classes n_classes num_samples max_new_tokens top_k top_p max_length "
        "max_len maxlen tokens train_size n_samples criterion loss_fn loss_func loss_function loss_type loss_name objective",
    ),
    PLACES: (
        "dir dirs path paths file files filename folder log logs logging wandb print save checkpoint checkpoints ckpt "
        "verbose debug resume interval name names project url tag tags version every cache download port host hostname uri "
        "track video capture color colour interactive force overwrite confirm "
        "address email plot display report hub push upload tensorboard mlflow comet neptune quiet profile profiler tqdm note "
        "overfit notes message title prefix suffix date format fmt timestamp",
        "init_from experiment run out output outdir root tb dry_run entity config cfg restart pretrained do_train do_eval "
        "train predict evaluate user video render figsize fontsize markersize",
    ),
    MACHINE: (
        "gpu gpus cuda cpu thread threads worker workers peak ddp nproc distributed dist multiprocessing fp16 bf16 tf32 mps tpu "
        "pin xla cudnn deterministic nccl fsdp deepspeed jobs prefetch",
        "device devices device_type device_id dtype backend compile world_size local_rank amp pin_memory half precision jit "
        "mixed_precision accelerator strategy num_envs num_nodes nnodes n_nodes node_rank",
    ),
    IDS: ("id ids idx index pad unk sos eos bos", "token"),
    SHAPES: (
        "image images img classes labels resolution crop shape",
        "in_channels out_channels input_dim output_dim input_size output_size in_features out_features in_dim out_dim "
        "channels n_channels num_channels in_chans "
        "num_features n_features nclass num_labels obs_dim action_dim state_dim channels_in channels_out",
    ),
    STATE: (
        "best current last prev previous history counter elapsed",
        "loss losses total total_loss running_loss train_loss correct acc accuracy step global_step start start_epoch t0 count "
        "iteration iter iter_num episode",
    ),
    TASK: ("", "model arch architecture backbone network task env env_id model_type env_name game"),
}
# of the data, which would make the task another; `input_noise` and `weight_noise` are settings
_OF_DATA = {"label", "labels", "measurement", "observation", "sample", "samples", "signal", "task"}
_AMOUNT = {"amount", "amplitude", "level", "scale", "sd", "sigma", "std", "stddev", "strength", "var", "variance"}
# epochs of it
_WITHIN_THE_BUDGET = {"warmup", "cooldown", "warmdown", "warm", "update", "ppo", "inner", "patience", "decay"}
UNSURE = "names that do not say what they set"
# words that a setting of training has in its name
_OF_SETTINGS = """
lr rate learning momentum beta beta1 beta2 betas decay wd eps epsilon dropout drop droprate prob alpha gamma tau
lambda lam lamda temperature temp margin smoothing clip clipping grad gradient norm batch bs bsz batchsize minibatch
minibatches accumulation accum accumulate hidden dim dims width depth layer layers nlayers block blocks head heads
nhead nheads embd embed embedding emb emsize nhid channels filters kernel kernels units neurons nodes lora rank
expansion mlp ffn ff ratio warmup cooldown warmdown schedule scheduler sched milestones optimizer optim opt activation
act bias nesterov amsgrad ema mixup cutmix augment augmentation aug jitter flip noise sigma std stddev init
initializer scale weight weights coef coeff coefficient penalty l1 l2 reg regularization regularizer estimators trees
leaves leaf subsample colsample bagging neighbors components window pattern tie tied pooling pool discount gae entropy
ent vf kl rollout rollouts buffer horizon patience factor threshold stride swa gain crops probability
loss hid inner ppo cosine anneal annealing blur distil distill residual muon adam adamw sgd conv
pdrop latent latents shrinkage
criterion quantile bins cutoff frac fraction pct percent lrf lr0 patch unroll bptt hops
warm lin linear fc dense proj feedforward
"""
_SETTINGS = frozenset(_OF_SETTINGS.split())
# those of them that may mean anything where nothing but the name speaks for a number: in a function
_ALSO_OF_ANYTHING = """
rate dim dims width eps epsilon alpha gamma tau lambda lam lamda prob norm scale std stddev sigma gain noise block blocks window
pattern components pool pooling threshold margin stride conv kernel kernels factor frac fraction pct percent lin linear fc dense
proj patch unroll hops buffer horizon cutoff quantile bins temp temperature residual gae vf ent discount kl tie tied leaf leaves
head rank ratio expansion filters nodes channels layer weight weights penalty init act bias update flip aug coef coeff opt
criterion loss inner
"""
_TELLING = _SETTINGS - frozenset(_ALSO_OF_ANYTHING.split())
_COUNTED = {
    "blocks",
    "channels",
    "components",
    "experts",
    "filters",
    "kernels",
    "nodes",
    "units",
}  # behind `num` or `n`
# words of what one of several ways is chosen by, where these are known
_OF_WAYS = {"flavor", "flavour", "kind", "mechanism", "method", "scheme", "style", "type", "variant"}
_SHORT_FOR = {
    "b1": "beta1", "b2": "beta2", "blr": "base_lr", "d_ff": "ff_dim", "d_k": "key_dim", "d_model": "model_dim", "d_v": "value_dim",
    "eta": "learning_rate", "k_epoch": "update_epochs", "k_epochs": "update_epochs", "lmbda": "lambda", "n_est": "n_estimators",
}  # fmt: skip
NOTHING = "None or empty, which says nothing of what else they may be"
BELOW_ZERO = "numbers below zero, often switches"
NO_LITERAL = "tables and texts that are no settings"

ADD = "add what else the script knows, then remove the #"
SCALE = "zero says nothing of its scale: add values, then remove the #"


@dataclass(frozen=True, slots=True)
class Choices:
    """What a constant may be; `missing` says what a person has to add before they can be used, "" if nothing."""

    values: tuple[Value, ...]
    missing: str = ""


def choices_for(
    name: str,
    value: Value,
    others: Mapping[str, Value],
    options: Sequence[Value] = (),
    real: bool = False,
    certain: bool = True,
) -> Choices | str:
    """Return choices around `value`, or why it is better left alone; `others` are all constants of the script.

    `options`: the only values that the script takes. `real`: 0 and 1 stand for fractions. `certain`: where it stands says
    that it is a setting; else its name has to.
    """
    words = words_of(name)
    if reason := _why_alone(name, words, value):
        return reason
    if "std" in words and re.sub("std", "mean", name, flags=re.IGNORECASE).lower() in map(str.lower, others):
        return MEASURE  # beside the mean of its data
    if value is None or (value in ("", ()) and not options):
        return NOTHING
    if value == -1:
        return BELOW_ZERO
    certain = certain or (len(options) > 1 and bool(words & _OF_WAYS))
    if not certain and not is_setting(name) and (not isinstance(value, float) or not value):
        return UNSURE
    if options and not isinstance(value, bool):
        return _of_options(value, options)
    if isinstance(value, bool):
        return Choices((False, True))
    if isinstance(value, str):
        return _text(words, value)
    if isinstance(value, tuple):
        return _tuple(words, value)
    if isinstance(value, int) and value in (0, 1) and (real or _is_share_or_rate(words)):
        value = float(value)
    if isinstance(value, int):
        return _rising(whole_around(words, value, others), value) if value >= 0 else BELOW_ZERO
    found = list(reals_around(name, words, value))
    return _rising(found, value) if found else Choices((value,), SCALE)


def is_of_measuring(place: str) -> bool:
    """Return whether the groups of a place, such as `TEST.BATCH` or `eval.loader.batch`, say that it is about the metric."""
    groups = words_of(place.rpartition(":")[2].rpartition(".")[0])
    return bool(groups & {"test", "eval", "val", "valid", "validation", "evaluation", "inference", "sampling"})


def is_setting(name: str) -> bool:
    """Return whether a name says that it sets something of a training."""
    words = words_of(name)
    paced = words & {"frequency", "freq"} and words & {"train", "target", "policy", "network"}
    one = {word.removesuffix("s") for word in words if len(word) > 4}
    return bool((words | one) & (_SETTINGS | {"update"}) or paced) or name.rstrip("0123456789").lower() in _SETTINGS


def is_telling(name: str) -> bool:
    """Return whether a name says by itself, wherever it stands, that it sets something of a training."""
    words = words_of(name)
    counted = words & {"num", "n"} and words & _COUNTED
    return bool(words & _TELLING or counted) or name.rstrip("0123456789").lower() in _TELLING


def _of_options(value: Value, options: Sequence[Value]) -> Choices | str:
    kinds = {str if isinstance(each, str) else type(value) for each in options if type(each) in (type(value), int)}
    usable = [each for each in dict.fromkeys((*options, value)) if type(each) in kinds and _holdable(each)]
    if all(isinstance(each, int | float) for each in usable):
        usable.sort()
    return Choices(tuple(usable)) if len(usable) > 1 else Choices((value,), ADD)


def _is_share_or_rate(words: Set[str]) -> bool:
    """Return whether such a number is a fraction by its nature: a share, a rate, a decay; but no count of steps."""
    if words & {"iters", "iter", "steps", "step", "epochs", "epoch", "tokens", "samples"}:
        return False
    return bool(
        words & (SHARES | {"momentum", "lr", "wd"}) or {"learning", "rate"} <= words or {"weight", "decay"} <= words
    )


_WORD = re.compile(r"(?<![^\W_])[lL][12](?![^\W_])|[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")


def words_of(name: str) -> frozenset[str]:
    """Split a name into its words: DEVICE_BATCH_SIZE -> device, batch, size; beta1 -> beta, 1; nEmbd -> n, embd."""
    name = _SHORT_FOR.get(name.lower(), name)
    return frozenset(word.lower() for word in _WORD.findall(name))


def why_left_alone(name: str) -> str:
    """Return why a setting of this name is left alone wherever it stands: as budget, seed or measure; "" for others."""
    why = _why_alone(name, words_of(name), None)
    return why if why in (BUDGET, CHANCE, MEASURE) else ""


def is_state(name: str) -> bool:
    """Return whether a name says that the script itself changes it, or counts by it."""
    return _why_alone(name, words_of(name), None) == STATE


def _why_alone(name: str, words: Set[str], value: Value) -> str:
    if name.lower() == "rank" and value in (0, -1):
        return MACHINE  # of processes; else it may be that of a matrix
    if words & {"mean", "means"} or (isinstance(value, tuple) and words & {"std", "stds"}):
        return MEASURE  # statistics of its data
    if "noise" in words and (words & _OF_DATA or words - {"noise"} <= _AMOUNT):
        return MEASURE
    if words & {"accumulate", "accumulation", "accum"}:
        return ""  # every so many batches
    if {"drop", "path"} <= words or {"min", "split"} <= words:
        return ""  # stochastic depth; the samples at which a tree splits
    if words >= {"batch", "size"} and words & {"gpu", "device"} and "max" not in words:
        return ""
    if {"last", "layer"} <= words:
        return ""  # of a model
    if "jitter" in words:
        return ""  # of colours, which is no colour
    within = bool(words & _WITHIN_THE_BUDGET)
    for reason, (telling, names) in _LEFT_ALONE.items():
        if reason == BUDGET and within and name.lower() not in names.split():
            continue
        if name.lower() in names.split() or words & set(telling.split()):
            return reason
    return ""


def _rising(found: Iterable[float], value: float) -> Choices | str:
    """Return the numbers that a list of choices can hold, with the value itself; too few are no choice."""
    whole = isinstance(value, int)
    usable = {n for n in found if (-(2**63) <= n < 2**63 if whole else math.isfinite(n))} | {value}
    return Choices(tuple(sorted(usable))) if len(usable) > 1 and _holdable(value) else NO_LITERAL


def _holdable(value: Value, depth: int = 0) -> bool:
    """Return whether a TOML list of choices can hold the value."""
    if isinstance(value, tuple):
        return depth < 3 and all(_holdable(each, depth + 1) for each in value)
    if isinstance(value, str):
        return value.isprintable() and len(value) <= 200
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _tuple(words: Set[str], value: tuple[Value, ...]) -> Choices | str:
    if not _holdable(value) or any(isinstance(each, tuple) for each in value) or len(repr(value)) > 100:
        return NO_LITERAL
    numbers = [each for each in value if isinstance(each, int | float) and not isinstance(each, bool)]
    if numbers and max(numbers) < 0:
        return BELOW_ZERO
    if not 0 < len(numbers) == len(value) <= 4 or not any(numbers):
        return Choices((value,), ADD)
    if all(0 <= each < 1 for each in numbers):
        found = _one_at_a_time(numbers, near_one=bool(NEAR_ONE & words))
    else:
        found = [tuple(_times(each, factor) for each in numbers) for factor in (0.5, 1, 2)]
    usable = list(dict.fromkeys(each for each in (*found, value) if each == value or _holdable(each)))
    return Choices(tuple(usable)) if len(usable) > 1 else Choices((value,), ADD)


def _one_at_a_time(numbers: Sequence[float], near_one: bool) -> list[tuple[float, ...]]:
    """Vary one element: the first a rung lower and a rung higher, the last a rung higher.

    (0.8, 0.95) -> (0.7, 0.95), (0.8, 0.95), ...
    """
    ladder, first, last = (TO_ONE if near_one else LINEAR), numbers[0], numbers[-1]
    lower, higher = [n for n in ladder if n < first][-1:], [n for n in ladder if n > first][:1]
    found = [(n, *numbers[1:]) for n in (*lower, first, *higher)]
    further = [n for n in ladder if n > last and n < 1][:1] if len(numbers) > 1 else []
    return [*found, *((*numbers[:-1], n) for n in further)]


def _times(number: float, factor: float) -> float:
    """Multiply a number; a whole one stays whole, and what is not zero does not become zero."""
    if isinstance(number, int):
        product = int(number * factor) if abs(number) < 2**53 else number
        return product or number
    return number if factor == 1 else rounded(number * factor) or number


def _text(words: Set[str], value: str) -> Choices | str:
    if not _holdable(value):
        return NO_LITERAL
    if {"window", "pattern"} <= set(words) and value and set(value) <= {"S", "L"}:
        return Choices(tuple(dict.fromkeys(("L", "SL", "SSSL", value))))
    return Choices((value,), ADD)
