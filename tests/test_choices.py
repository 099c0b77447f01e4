"""Choices around a value that nobody has thought about yet."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Value
from search_spaces.choices import (
    ADD,
    BELOW_ZERO,
    BUDGET,
    CHANCE,
    IDS,
    MACHINE,
    MEASURE,
    PLACES,
    SCALE,
    SHAPES,
    STATE,
    UNSURE,
    Choices,
    choices_for,
    words_of,
)

SOME_NAMES = (
    "LR",
    "weight_decay",
    "beta1",
    "dropout",
    "batch_size",
    "n_head",
    "n_layer",
    "X",
    "warmup_iters",
    "WARMUP_RATIO",
    "ADAM_BETAS",
    "eps",
    "momentum",
    "WINDOW_PATTERN",
    "decay",
    "GAIN",
    "hidden_dim",
)  # fmt: skip
NAMES = st.sampled_from(SOME_NAMES)
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5).map(tuple),
    max_leaves=6,
)


def values(name: str, value: Value, **others: Value) -> tuple[Value, ...]:
    found = choices_for(name, value, others)
    assert isinstance(found, Choices), found
    assert not found.missing
    return found.values


@pytest.mark.parametrize(
    ("name", "value", "choices"),
    [
        ("MATRIX_LR", 0.04, (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.15)),
        ("learning_rate", 6e-4, (1.5e-4, 3e-4, 4e-4, 6e-4, 8e-4, 1.2e-3, 2.5e-3)),
        ("GAIN", 15.0, (8.0, 10.0, 15.0, 20.0, 30.0)),
        ("WEIGHT_DECAY", 0.2, (0.0, 0.1, 0.2, 0.4, 0.8)),
        ("weight_decay", 0.0, (0.0, 0.01, 0.03, 0.1, 0.3)),
        ("beta1", 0.9, (0.7, 0.8, 0.9, 0.95, 0.98)),
        ("b1", 0.5, (0.0, 0.5, 0.7, 0.8, 0.9)),
        ("b2", 0.999, (0.99, 0.995, 0.999, 0.9995, 0.9999)),
        ("eta", 0.1, (0.025, 0.05, 0.08, 0.1, 0.15, 0.2, 0.4)),
        ("momentum", 0.999, (0.99, 0.995, 0.999, 0.9995, 0.9999)),
        ("dropout", 0.0, (0.0, 0.05, 0.1, 0.2, 0.3)),
        ("WARMUP_RATIO", 0.0, (0.0, 0.01, 0.02, 0.05, 0.1)),
        ("WARMDOWN_RATIO", 0.5, (0.3, 0.4, 0.5, 0.6, 0.7)),
        ("FINAL_LR_FRAC", 0.05, (0.0, 0.05, 0.1, 0.2, 0.3)),
        ("adam_eps", 1e-8, (1e-10, 1e-9, 1e-8, 1e-7, 1e-6)),
        ("SHIFT", -0.5, (-1.0, -0.8, -0.5, -0.4, -0.25)),
        ("TOTAL_BATCH_SIZE", 2**19, (2**17, 2**18, 2**19, 2**20)),
        ("batch_size", 12, (6, 8, 12, 16, 24)),
        ("BATCH_SIZE", 1, (1, 2, 4)),
        ("n_embd", 768, (384, 512, 768, 1024, 1536)),
        ("DEPTH", 8, (6, 7, 8, 9, 10)),
        ("n_layer", 1, (1, 2, 3)),
        ("n_layer", 32, (22, 27, 32, 37, 42)),
        ("ACCUMULATE", 0, (0, 1, 2)),
        ("warmup_iters", 2000, (500, 1000, 2000, 4000)),
        ("bias", True, (False, True)),
        ("ADAM_BETAS", (0.8, 0.95), ((0.7, 0.95), (0.8, 0.95), (0.9, 0.95), (0.8, 0.98))),
        ("SIZES", (3, 4), ((1, 2), (3, 4), (6, 8))),
        ("WINDOW_PATTERN", "SSSL", ("L", "SL", "SSSL")),
        ("WINDOW_PATTERN", "SLLL", ("L", "SL", "SSSL", "SLLL")),
        ("gamma", 0.99, (0.95, 0.98, 0.99, 0.995, 0.999)),
        ("tau", 0.5, (0.3, 0.4, 0.5, 0.6, 0.7)),
        ("buffer_size", 10_000, (2500, 5000, 10_000, 20_000)),
        ("lora_r", 8, (2, 4, 8, 16)),
        ("L2", 0.0, (0.0, 0.01, 0.03, 0.1, 0.3)),
        ("gamma", 1.0, (0.8, 0.9, 0.95, 0.99, 1.0)),
        ("p_thresh", 0.95, (0.7, 0.8, 0.9, 0.95, 1.0)),
        ("layer_decay", 1.0, (0.8, 0.9, 0.95, 0.99, 1.0)),
        ("WARMUP_LR", 5e-7, (1.2e-7, 2.5e-7, 4e-7, 5e-7, 8e-7, 1e-6, 2e-6)),
        ("DROP_PATH_RATE", 0.2, (0.05, 0.1, 0.2, 0.3, 0.4)),
        ("epsilon_decay", 0.995, (0.98, 0.99, 0.995, 0.999, 0.9995)),
        ("decay_rate", 0.96, (0.9, 0.95, 0.96, 0.98, 0.99)),
        ("factor", 0.5, (0.3, 0.4, 0.5, 0.6, 0.7)),
    ],
)
def test_choices_lie_around_the_value_as_its_name_suggests(name: str, value: Value, choices: tuple[Value, ...]) -> None:
    assert values(name, value) == choices
    assert [type(each) for each in values(name, value)] == [type(value)] * len(choices)


@pytest.mark.parametrize(
    ("name", "value", "choices"),
    [
        ("dropout", 0, (0.0, 0.05, 0.1, 0.2, 0.3)),
        ("weight_decay", 0, (0.0, 0.01, 0.03, 0.1, 0.3)),
        ("learning_rate", 1, (0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 4.0)),
        ("momentum", 0, (0.0, 0.5, 0.7, 0.8, 0.9)),
    ],
)
def test_zero_and_one_of_a_rate_or_a_share_mean_fractions(name: str, value: int, choices: tuple[float, ...]) -> None:
    assert values(name, value) == choices
    assert all(type(each) is float for each in values(name, value))
    assert type(values("warmup_steps", value + 1)[0]) is int
    assert choices_for("sigma", 1, {}, real=True) == Choices((0.5, 0.8, 1.0, 1.5, 2.0))


def test_what_is_multiplied_or_shared_out_stays_above_0_and_at_most_1() -> None:
    """StepLR with gamma 0 trains for one step; 120 % of all actions cannot be random."""
    names = ("start_e", "end_e", "eta", "gamma", "eps_start", "lr_decay", "factor", "subsample", "exploration_fraction")
    for name in names:
        for value in (0.05, 0.1, 0.3, 0.5, 0.9, 0.99):
            found = [each for each in values(name, value) if isinstance(each, float)]
            assert 0 < min(found) < max(found) <= 1, (name, value)
    assert 1.0 not in values("factor", 0.9)  # ReduceLROnPlateau refuses it


def test_where_the_place_does_not_say_that_it_is_a_setting_the_name_has_to() -> None:
    for name, value in (("n", 3), ("show_it", True), ("kind", "a"), ("counter_max", 0.0)):
        assert choices_for(name, value, {}, certain=False) in (UNSURE, STATE), name
    for name, value in (("num_layers", 3), ("nesterov", True), ("sharpness", 0.3)):
        assert isinstance(choices_for(name, value, {}, certain=False), Choices), name


def test_noise_that_is_added_in_training_is_a_setting() -> None:
    for name in ("input_noise", "WEIGHT_NOISE", "exploration_noise", "noise_multiplier"):
        assert values(name, 0.2), name


def test_options_that_the_script_names_are_the_choices() -> None:
    assert choices_for("optimizer", "adam", {}, ("sgd", "adam", None)) == Choices(("sgd", "adam"))
    assert choices_for("width", 64, {}, (128, 64)) == Choices((64, 128))
    assert choices_for("optimizer", "adam", {}, ("adam",)) == Choices(("adam",), ADD)


def test_heads_divide_the_width() -> None:
    assert values("n_head", 12, n_embd=768) == (6, 8, 12, 16, 24)
    assert values("n_head", 12) == (6, 12, 24)  # no width is known


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        (BUDGET, "TIME_BUDGET FLOP_BUDGET max_iters num_epochs lr_decay_iters NUM_ITERATIONS"),
        (MEASURE, "EVAL_TOKENS VAL_SPLIT MAX_SEQ_LEN VOCAB_SIZE eval_iters block_size dataset val_loss_every"),
        (MEASURE, "NOISE noise_std noiseLevel LABEL_NOISE n_points num_examples rows difficulty"),
        (CHANCE, "SEED data_seed seed_offset"),
        (PLACES, "out_dir log_interval wandb_project wandb_run_name always_save_checkpoint CKPT_PATH init_from"),
        (MACHINE, "device dtype backend compile num_workers H100_BF16_PEAK_FLOPS"),
        (IDS, "PAD UNK EOS bos_id class_index"),
        (SHAPES, "image_size num_labels in_channels channels n_channels in_chans"),
        (STATE, "best_acc1 global_step last_loss"),
        (PLACES, "port DATE_FORMAT"),
    ],
)
def test_what_is_no_hyperparameter_is_left_alone_and_says_why(reason: str, names: str) -> None:
    for name in names.split():
        assert choices_for(name, 8, {}) == reason, name


def test_what_only_sounds_like_it_is_varied() -> None:
    for name in (
        "DEVICE_BATCH_SIZE",
        "gradient_accumulation_steps",
        "warmup_steps",
        "warmup_epochs",
        "grad_clip",
        "min_lr",
        "decay_lr",
        "gradient_accumulate_every",
        "update_epochs",
        "train_frequency",
        "hidden_channels",
    ):
        assert isinstance(choices_for(name, 8, {}, certain=False), Choices), name


def test_what_needs_a_person_says_so() -> None:
    assert choices_for("ACTIVATION", "relu", {}) == Choices(("relu",), ADD)
    assert choices_for("KINDS", ("a", "b"), {}) == Choices((("a", "b"),), ADD)
    assert choices_for("GAMMA", 0.0, {}) == Choices((0.0,), SCALE)
    assert choices_for("TOP", -1, {}) == BELOW_ZERO
    assert choices_for("target_size", -1.0, {}) == BELOW_ZERO
    for value in (None, "a\nb", "x" * 300, ((1.0, 2.0), (3.0, 4.0)), 2**80, (None,)):
        assert isinstance(choices_for("X", value, {}), str), value


def test_a_name_is_cut_into_words() -> None:
    assert words_of("DEVICE_BATCH_SIZE") == {"device", "batch", "size"}
    assert words_of("nEmbd") == {"n", "embd"}
    assert words_of("beta1") == {"beta", "1"}


@given(NAMES, LITERALS, st.integers(-5, 5000))
def test_whatever_the_value_it_is_among_its_choices_which_differ_and_rise(name: str, value: Value, width: int) -> None:
    found = choices_for(name, value, {"n_embd": width})
    if isinstance(found, str):
        return
    kinds = (type(value), float) if value in (0, 1) else (type(value),)  # 0 and 1 of a share are fractions
    assert any(each == value and type(each) in kinds for each in found.values)
    assert len(set(found.values)) == len(found.values)
    assert (len(found.values) == 1) == bool(found.missing)
    if type(value) in (int, float) and not found.missing:
        assert list(found.values) == sorted(found.values)  # type: ignore[type-var]
        assert all(type(each) in kinds and math.isfinite(each) for each in found.values)  # type: ignore[arg-type]


def test_what_mixes_returns_stays_below_one_and_passes_over_them_are_no_budget() -> None:
    for name in ("lam", "lmbda", "lambda_", "gae_lambda"):
        assert values(name, 0.95) == (0.8, 0.9, 0.95, 0.98, 0.99)
    assert values("lambda_l1", 0.95)[-1] > 1
    assert values("K_epochs", 4) == (2, 3, 4, 5, 6)
    assert choices_for("epochs", 4, {}) == BUDGET
