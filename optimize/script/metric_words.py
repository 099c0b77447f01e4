"""Says what the words around a printed number mean: which name it has, of what it is, and which direction is better."""

from __future__ import annotations

import re

_WORDS_HIGHER = """
acc accuracy f1 auc auroc auprc score r2 bleu rouge precision prec recall reward rewards return returns map ap iou
miou dice psnr ssim mrr ndcg kappa acc1 acc5 top1 top5 correct winrate elbo likelihood mcc hits pass
"""
HIGHER = frozenset(_WORDS_HIGHER.split())
_WORDS_LOWER = """
loss losses bpb bpc bpd ppl perplexity mse rmse mae mape rmsle error err nll wer cer fid logloss crossentropy ce brier
regret cost distance objective rmsd kl
"""
LOWER = frozenset(_WORDS_LOWER.split())
VALIDATION = frozenset(
    ("val", "va", "valid", "validate", "validation", "validating", "dev", "heldout", "holdout", "oob", "cv")
)
TEST = frozenset(("test", "testing"))
HELD_OUT = VALIDATION | TEST | {"eval", "evaluate", "evaluation"}
OF_TRAINING = frozenset(("train", "training", "tr"))
_WORDS_NEITHER = """
lr rate time sec secs seconds ms dt step steps epoch epochs iter iters iteration iterations batch batches tokens tok
params parameters memory mem gb mb mfu size shape norm eta elapsed device seed speed total samples best_epoch
"""
NEITHER = frozenset(_WORDS_NEITHER.split())
# what a name ends with that stands for an object of the training: printed it is text, and no result
_WORDS_OBJECTS = """
model models net network args arg options opts opt optimizer optimiser optim scheduler sched config cfg conf settings hparams
history fn func function criterion loader dataloader dataset tokenizer trainer agent env layer module encoder decoder classifier
clf estimator pipeline namespace summary
"""
_OBJECTS = frozenset(_WORDS_OBJECTS.split())
# of which each may have a result that is called like it: accuracy_model, rmse_net
_MEASURED = frozenset(
    ("model", "models", "net", "network", "classifier", "clf", "estimator", "pipeline", "encoder", "decoder")
)
_SHOWN = re.compile(
    r"(?:str|repr|vars|dict)\(([\w.]+)\)|([\w.]+)\.(?:summary|get_config|get_params|state_dict)\(\)|([\w.]+)"
)
TELLING = HIGHER | LOWER | HELD_OUT | OF_TRAINING | {"best", "final"}
LABEL = re.compile(r"[,;|()\[\]{}]|\s-+\s|\.\s")
# Words that people write as one: sloss, lossi, valacc, errs; not stderr, underscore or accum.
_JOINED = re.compile(r"(?!stderr|undersc)([a-z]{0,8}?)(loss|err|cost|acc|score|bpb|ppl)(?:es|[a-z])?\d*")
MOST_WORDS = 5  # of a name; more are a sentence
# what stands right behind the value before, such as `{seconds:.1f}s test loss:`
_UNIT = re.compile(
    r"(?:[A-Za-zµ]{1,3}(?:/\w+)?|\s?(?:%|m?s|secs?|seconds?|mins?|minutes?|h|hours?|[KMGT]i?B|(?:it|samples|tok\w*)/\w+))(?=\s)"
)


def direction_of(name: str) -> str:
    """Return minimize or maximize for what a metric's name says, "" where it says neither."""
    words = words_in(name)
    return "minimize" if words & LOWER else "maximize" if words & HIGHER else ""


def is_object(expression: str) -> bool:
    """Return whether an expression is an object of the training by its name: `model`, `vars(args)`, `loss_fn`; no number of it."""
    found = _SHOWN.fullmatch(expression)
    named = next(filter(None, found.groups())).rpartition(".")[2] if found else ""
    last = next(reversed(re.findall(r"[A-Za-z]+", named)), "").lower()
    is_result = last in _MEASURED and words_in(named) & (HIGHER | LOWER)
    return bool(found and found[2]) or (last in _OBJECTS and not is_result)


def words_in(text: str) -> set[str]:
    """Return the words of a name or label in small letters."""
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+\d*|\d+", text)}
    joined = [found for word in words - HIGHER - LOWER if (found := _JOINED.fullmatch(word))]
    return words | {part for found in joined for part in found.groups() if part}


def same_name(one: str, other: str) -> bool:
    """Return whether two names are the same but for case, blanks, underscores and hyphens."""
    plain = [re.sub(r"[\W_]+", "", each).lower() for each in (one, other)]
    return plain[0] == plain[1]


def clause(label: str) -> str:
    """Return the words right before a value: what follows the last comma, bar or bracket."""
    return LABEL.split(label.rstrip())[-1].strip(" :=\t'\"~≈$#*-<>") if label.strip() else ""


def without_unit(label: str) -> str:
    """Return the words behind a value without its unit: `s test loss:` -> ` test loss:`."""
    unit = _UNIT.match(label)
    return label[unit.end() :] if unit and not words_in(unit[0]) & TELLING else label


def short_name(named: str) -> str:
    """Return a metric's name; of a sentence the words that tell: `Accuracy of the network on the test images` -> accuracy_test."""
    words = re.findall(r"[A-Za-z]+\d*", named)
    told = [each for each in dict.fromkeys(map(str.lower, words)) if each in TELLING]
    return "_".join(told) if len(words) > MOST_WORDS and told else re.sub(r"[\W_]+", "_", named).strip("_").lower()


def last_name(expression: str) -> str:
    """Return the name in an expression that says most: `metrics["val_acc"]` -> val_acc, `loss.item()` -> loss."""
    texts = re.findall(r"\[['\"]([\w/ -]+)['\"]\]", expression)
    names = [
        each
        for each in re.findall(r"[A-Za-z_]\w*", expression)
        if each not in ("item", "self", "float", "np", "mean", "avg")
    ]
    return (
        texts[-1] if texts else next((each for each in names if words_in(each) & (HIGHER | LOWER)), "".join(names[:1]))
    )
