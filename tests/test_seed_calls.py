"""The seed of a script without a constant for it: found in its calls, written there and nowhere else."""

from __future__ import annotations

import pytest

from optimize.errors import RenderError
from optimize.script.seed_calls import read_seed_calls, render_seed_calls

AUTORESEARCH = """\
t_start = time.time()
torch.manual_seed(42)  # 42
torch.cuda.manual_seed( 42 )
SOFTCAP = 42
"""


def test_every_literal_is_replaced_and_nothing_else() -> None:
    assert read_seed_calls(AUTORESEARCH, "train.py") == 42
    assert render_seed_calls(AUTORESEARCH, 43, "train.py") == (
        AUTORESEARCH.replace("manual_seed(42)", "manual_seed(43)").replace("( 42 )", "( 43 )")
    )


@pytest.mark.parametrize(
    ("call", "rendered"),
    [
        ("torch.manual_seed(1337 + seed_offset)", "torch.manual_seed(7 + seed_offset)"),
        ("torch.manual_seed(rank + 0x2A)", "torch.manual_seed(rank + 7)"),
        ("np.random.seed(1_000)", "np.random.seed(7)"),
        ("manual_seed(0)", "manual_seed(7)"),
        ("torch.cuda.manual_seed_all(1)", "torch.cuda.manual_seed_all(7)"),
        ("print('ü\\u2028'); torch.manual_seed(1)", "print('ü\\u2028'); torch.manual_seed(7)"),
        ("if True:\r\n    torch.manual_seed(1)\r\n", "if True:\r\n    torch.manual_seed(7)\r\n"),
        ("x = 1\x0c\ntorch.manual_seed(1)", "x = 1\x0c\ntorch.manual_seed(7)"),
        ("torch.manual_seed(seed=1)", "torch.manual_seed(seed=7)"),
        ("g = torch.Generator().manual_seed(123456)", "g = torch.Generator().manual_seed(7)"),
        ("g = torch.Generator(device='cpu')\ng.manual_seed(1)", "g = torch.Generator(device='cpu')\ng.manual_seed(7)"),
        ("rng = np.random.default_rng(1)", "rng = np.random.default_rng(7)"),
        ("rng = np.random.default_rng(seed=1)", "rng = np.random.default_rng(seed=7)"),
        ("rng = np.random.RandomState(1)", "rng = np.random.RandomState(7)"),
        ("draw = random.Random(1).choice", "draw = random.Random(7).choice"),
        ("key = jax.random.PRNGKey(1)", "key = jax.random.PRNGKey(7)"),
        ("m = XGBClassifier(eta=1, random_state=42)", "m = XGBClassifier(eta=1, random_state=7)"),
        (
            "train_test_split(x, random_state=1)\nm = ensemble.RandomForestClassifier(random_state=2)",
            "train_test_split(x, random_state=1)\nm = ensemble.RandomForestClassifier(random_state=7)",
        ),
        (
            "np.random.seed(0)\na = A(random_state=0)\nb = B(random_state=7)",
            "np.random.seed(7)\na = A(random_state=7)\nb = B(random_state=7)",
        ),
        (  # that of a split stays, where the script has a seed
            "rng = np.random.default_rng(1)\ntorch.manual_seed(1)",
            "rng = np.random.default_rng(1)\ntorch.manual_seed(7)",
        ),
    ],
)
def test_many_forms_of_a_call_are_known(call: str, rendered: str) -> None:
    assert render_seed_calls(call, 7, "train.py") == rendered


@pytest.mark.parametrize(
    "text",
    [
        "torch.manual_seed(SEED)",
        "train_test_split(x, random_state=42)\ncv = StratifiedKFold(5, random_state=42)\nm = SVC(random_state=None)",
        "torch.manual_seed(int(time.time()))",
        "torch.manual_seed(2 * 21)",
        "torch.manual_seed(-1)",
        "torch.manual_seed(True)",
        "torch.manual_seed()",
        "# torch.manual_seed(42)",
        "text = 'torch.manual_seed(42)'",
        "generator.manual_seed(42)",
        "np.random.default_rng()",
        "torch.manual_seed(args.seed)\nrng = np.random.default_rng(42)",
        "x = 42",
    ],
)
def test_what_is_no_literal_seed_of_the_script_is_left_alone(text: str) -> None:
    assert read_seed_calls(text, "train.py") is None
    with pytest.raises(RenderError, match="a script with such a call"):
        render_seed_calls(text, 7, "train.py")


def test_seeds_that_disagree_are_one_line_that_names_them() -> None:
    with pytest.raises(
        RenderError, match=r"several seeds: torch.manual_seed\(1\) in line 1, random.seed\(2\) in line 2"
    ):
        read_seed_calls("torch.manual_seed(1)\nrandom.seed(2)\n", "train.py")


@pytest.mark.parametrize("seed", [-1, True, 1.0])
def test_a_seed_that_is_none_is_refused(seed: object) -> None:
    with pytest.raises(RenderError, match="cannot be written"):
        render_seed_calls(AUTORESEARCH, seed, "train.py")  # type: ignore[arg-type]
