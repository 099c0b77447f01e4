"""`optimize space init`: what it writes for any script loads, fits the script, and reads well."""

from __future__ import annotations

import json
import keyword
import os
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.errors import OptimizeError, WorkloadError
from optimize.script.draft_space import draft_for, read_remarks, section_of, workload_of, write_space
from optimize.script.settings_in_files import keys_as_settings
from search_spaces import Value, load_space, parse_space
from tests.forked import run_forked
from tests.test_choices import LITERALS

ROOT = Path(__file__).parent.parent
AUTORESEARCH = '''"""One file, as autoresearch has it."""
import time
from prepare import MAX_SEQ_LEN, TIME_BUDGET

coefficients = ((8.1, -22.4), (4.0, -2.9))
GATE = 32

def norm(x):
    return x

# ---------------------------------------------------------------------------
# Hyperparameters (edit here, there are no flags)
# ---------------------------------------------------------------------------

# Model architecture
ASPECT_RATIO = 64       # width = depth * ASPECT_RATIO
WINDOW_PATTERN = "SSSL" # L = all, S = half
ACTIVATION = "relu2"

# Optimization
TOTAL_BATCH_SIZE = 2**19  # tokens of a step
MATRIX_LR = 0.04        # matrices (Muon)
ADAM_BETAS = (
    0.8,
    0.95,  # of the second moment
)  # beta1, beta2
DEVICE_BATCH_SIZE = 128 # less if memory runs out
SEED = 42

H100_BF16_PEAK_FLOPS = 989.5e12
step = 0
total = 0
while step < 3:
    step += 1
'''
PREPARE = "MAX_SEQ_LEN = 2048\nTIME_BUDGET = 300\n"
NANO = """\
import os
# I/O
out_dir = 'out'
eval_interval = 2000
wandb_log = False # off
# data
dataset = 'words'
gradient_accumulation_steps = 5 * 8 # stands in for larger batches
batch_size = 12 # the micro-batch
block_size = 1024
# model
n_layer = 12
n_head = 12
n_embd = 768
dropout = 0.0 # for pretraining 0 is good
bias = False
# adamw
learning_rate = 6e-4 # the highest
max_iters = 600000
weight_decay = 1e-1
beta1 = 0.9
decay_lr = True
warmup_iters = 2000
min_lr = 6e-5
device = 'cuda'
dtype = 'bfloat16' if os.sep else 'float16'
exec("")
if os.sep == "never":
    gradient_accumulation_steps //= 8
"""


def folder_of(where: Path, train: str, **others: str) -> Path:
    folder = where / "workload"
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(train)
    for name, text in others.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def planned(workload: str, space: Path, where: Path, profile: str = "") -> Plan:
    """Passes if the plan's checks find nothing."""
    (where / "profile.toml").write_text("[slots]\ndevice = 'cpu'\n")
    flags = {"workload": workload, "search_space": str(space), "runs": where / "runs"}
    return make_plan(load_settings(profile or str(where / "profile.toml"), "a test", flags, {}))


def drafted(where: Path, train: str, **others: str) -> tuple[str, Plan]:
    folder = folder_of(where, train, **others)
    write_space(str(folder / "train.py"), where / "new.toml", {})
    return (where / "new.toml").read_text(), planned(str(folder), where / "new.toml", where)


@pytest.mark.parametrize("profile", ["", "cpu", "gpu", "h100"])
def test_our_own_script_gets_a_space_that_fits_it_with_any_profile(tmp_path: Path, profile: str) -> None:
    profiled = load_settings(profile, "flag", {"workload": "gpt"}, {}).constants if profile else {}
    write_space("gpt", tmp_path / "new.toml", profiled)
    plan = planned("gpt", tmp_path / "new.toml", tmp_path, profile)
    assert set(load_space("h100").names) <= {*plan.space.names, "MAX_SEQ_LEN"}
    assert plan.baseline["DEPTH"] == (2 if profile == "cpu" else plan.constants["DEPTH"])
    assert len(plan.space.rules) == 1
    assert "SOFTCAP" not in plan.space.names


def test_a_script_of_autoresearchs_form_is_described_in_its_own_order_and_words(tmp_path: Path) -> None:
    text, plan = drafted(tmp_path, AUTORESEARCH, prepare=PREPARE)
    assert plan.space.names == (
        "ASPECT_RATIO", "WINDOW_PATTERN", "TOTAL_BATCH_SIZE", "MATRIX_LR", "ADAM_BETAS", "DEVICE_BATCH_SIZE",
    )  # fmt: skip
    assert plan.space.rules[0].text == "TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0"
    assert "\n# Model architecture\nASPECT_RATIO = [16, 32, 64, 128]" in text
    assert "# now 64; width = depth * ASPECT_RATIO\n" in text
    assert "# now [0.8, 0.95]; beta1, beta2\n" in text
    assert '\n# ACTIVATION = ["relu2"] ' in text
    for name in ("SEED", "H100_BF16_PEAK_FLOPS", "coefficients, GATE", "total"):
        assert f"#     {name}\n" in text


def test_a_script_of_nanogpts_form_is_described_as_well(tmp_path: Path) -> None:
    text, plan = drafted(tmp_path, NANO)
    assert plan.space.names == (
        "batch_size", "n_layer", "n_head", "n_embd", "dropout", "bias", "learning_rate", "weight_decay", "beta1",
        "decay_lr", "warmup_iters", "min_lr",
    )  # fmt: skip
    assert {rule.text for rule in plan.space.rules} == {"n_embd % n_head == 0", "min_lr <= learning_rate"}
    assert "\n# adamw\nlearning_rate = [1.5e-4, 3e-4, 4e-4, 6e-4, 8e-4, 1.2e-3, 2.5e-3]" in text
    for line in ("max_iters", "out_dir, wandb_log", "eval_interval, dataset, block_size", "device"):
        assert f"#     {line}\n" in text


ODD = """
import os
LR: float = 0.1
A = B = 3
C, D = 4, 5
WIDTHS = [64, 128]
ENV_LR = float(os.environ.get("ENV_LR", 3e-4))
POW = 1 << 14
NAME = f"run_{LR}"
LR2 = 0.1
LR2 *= 2
LR3 = 0.1
DEVICE = os.sep
PAD = 0
EOS = 3
n_batch = 16
best_acc = 0
def train():
    global LR3, best_acc
    LR3 = best_acc = 1
    momentum = 0.9
    alpha = 0.3
if __name__ == "__main__":
    WEIGHT_DECAY = 0.1
    LR4 = max(0.1, 0.2)
    if os.sep:
        LR5 = 0.1
"""


def test_each_setting_that_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    text, plan = drafted(tmp_path, ODD)
    assert plan.space.names == ("LR", "C", "D", "n_batch", "ENV_LR", "momentum", "WEIGHT_DECAY")
    for reason, names in {
        "together with another name: give each a line of its own": "A, B",
        "a list can vary when it is written as a tuple": "WIDTHS",
        "computed when the script runs": "POW, NAME, LR4",
        "given more than one value, or changed while the script runs": "LR2, LR3",
        "numbers that name something, such as a token": "PAD, EOS",
        "not at the top level of the file: move them there": "LR5",
        'whose names say too little: one can vary by { local = "PLACE" }': "train.alpha",
    }.items():
        assert f"{reason}\n#     {names}\n" in text
    assert "DEVICE" not in text


def test_a_number_under_an_optimizer_or_a_schedule_is_a_setting_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        '{"lr_scheduler": {"args": {"step_size": 50, "mode": "min"}}, "log": {"level": 2}}'
    )
    certain = {each.name: each.certain for each in keys_as_settings(["c.json"], tmp_path)}
    assert certain == {"step_size": True, "mode": False, "level": False}


def test_two_settings_of_one_name_are_told_apart(tmp_path: Path) -> None:
    fields = "class {0}Config:\n    dropout = 0.1\n    lambda_ = 0.5\n"
    train = f"{fields.format('Net')}{fields.format('Head')}a, b = NetConfig(), HeadConfig()\ndropout = 0.2\n"
    _, plan = drafted(tmp_path, train)
    assert plan.space.names == ("dropout", "netconfig_dropout", "lambda_", "headconfig_dropout", "headconfig_lambda_")


def test_a_rule_that_the_present_values_break_is_there_but_commented_out(tmp_path: Path) -> None:
    text, plan = drafted(tmp_path, "n_embd = 100\nn_head = 3\n")
    assert plan.space.rules == ()
    assert '# rule = "n_embd % n_head == 0"' in text


def test_every_line_that_is_commented_out_is_a_choice_to_be_completed(tmp_path: Path) -> None:
    text, _ = drafted(tmp_path, "A = 'one'\nB = 0.0\nC = 3\n")
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# A =", "# B ="))]
    assert len(lines) == 2
    assert tomllib.loads("\n".join(lines)) == {"A": ["one"], "B": [0.0]}


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    folder = folder_of(tmp_path, NANO)
    with pytest.raises(OptimizeError, match="exists already") as caught:
        write_space(str(folder / "train.py"), tmp_path / "mine.toml", {})
    assert len(caught.value.problems) == 1
    assert (tmp_path / "mine.toml").read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("print(3)\n", "it has no constants"),
        ("SEED = 3\nNAME = 'x'\n", "none of its settings"),
        ("X = (\n", "not valid Python"),
        ("import os\nX = len(os.sep)\n", "it has no constants"),
    ],
)
def test_a_script_with_nothing_to_vary_is_one_line_and_no_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "script.py").write_text(text)
    with pytest.raises(WorkloadError, match=said) as caught:
        write_space(str(tmp_path / "script.py"), tmp_path / "new.toml", {})
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "new.toml").exists()


def test_a_script_in_the_present_folder_is_named_as_a_command_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_of(tmp_path, "A = 1\n"))
    said = write_space("train.py", None, {})
    assert said[-1].endswith("`optimize check --workload ./ --space ./workload-space.toml`")


def test_a_path_cannot_add_a_line_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "odd\n[parameters]\nB = [1, 2]"
    folder.mkdir()
    (folder / "mine.py").write_text("A = 1\n")
    write_space(str(folder / "mine.py"), tmp_path / "new.toml", {})
    assert load_space(str(tmp_path / "new.toml")).names == ("A",)


def test_a_lone_script_is_read_alone_and_needs_to_be_described(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "A = 1\n", mine="LR = 0.1\n")
    said = write_space(str(folder / "mine.py"), tmp_path / "new.toml", {})
    assert load_space(str(tmp_path / "new.toml")).names == ("LR",)
    assert "workload.toml" in said[-1]
    (folder / "workload.toml").write_text('script = "mine.py"\n')
    said = write_space(str(folder / "mine.py"), tmp_path / "again.toml", {})
    assert f"--space {shlex.quote(str(tmp_path / 'again.toml'))}" in said[-1]


def test_a_script_whose_workload_is_broken_is_drafted_and_told_what_to_correct(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "LR = 0.1\n")
    (folder / "workload.toml").write_text("direction = 'sideways'\nmetrik = 'loss'\n")
    said = write_space(str(folder / "train.py"), tmp_path / "new.toml", {})
    assert load_space(str(tmp_path / "new.toml")).names == ("LR",)
    broken = folder / "workload.toml"
    assert said[-1] == f"edit it, then correct {broken}: direction: 'sideways'. Use minimize or maximize. And 1 more."


def test_a_profile_for_another_script_makes_no_baseline(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "DEPTH = 8\nWIDTH = 64\n")
    said = write_space(str(folder / "train.py"), tmp_path / "new.toml", {"DEPTH": 2, "VOCAB_SIZE": 2048})
    assert "it has no VOCAB_SIZE" in said[0]
    assert load_space(str(tmp_path / "new.toml"))["DEPTH"].choices == (6, 7, 8, 9, 10)
    said = write_space(str(folder / "train.py"), tmp_path / "again.toml", {"DEPTH": 2})
    assert load_space(str(tmp_path / "again.toml"))["DEPTH"].choices == (1, 2, 3, 4)


def test_a_heading_names_the_section_of_hyperparameters() -> None:
    assert list(section_of("A = 1\n# Hyperparameters\nB = 2\ndef f(): ...\nC = 3\n")) == [2, 3]
    assert len(section_of("A = 1\nB = 2\n")) == 3


def test_what_a_comment_says_stays_on_its_line() -> None:
    remarks = read_remarks("# model\nA = 1  # one\nB = '#'\n\nC = 2\n")
    assert remarks.beside == {2: "one"}
    assert remarks.above == {2: "model", 3: "model"}


@pytest.mark.slow
def test_the_command_writes_beside_and_check_accepts_it(tmp_path: Path) -> None:
    folder_of(tmp_path, NANO)

    def optimize(*words: str) -> subprocess.CompletedProcess[str]:
        return run_forked(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"})

    first, second = (optimize("space", "init", "workload/train.py") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 2), first.stderr
    assert len(second.stderr.splitlines()) == 1
    (tmp_path / "profile.toml").write_text("[slots]\ndevice = 'cpu'\n")
    words = first.stderr.splitlines()[-1].rstrip("`").partition("optimize ")[2].split()
    checked = optimize(*words, "--profile", "./profile.toml")
    assert checked.returncode == 0, checked.stderr
    assert "12 parameters" in checked.stdout


NAME = st.from_regex(r"[a-zA-Zé_][a-zA-Z0-9_]{0,12}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
COMMENT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\f\x00"), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(NAME, st.tuples(LITERALS, COMMENT), min_size=1, max_size=12))
def test_whatever_the_script_its_space_loads_and_holds_the_present_values(
    tmp_path: Path, constants: dict[str, tuple[Value, str]]
) -> None:
    lines = [f"{name} = {value!r}  # {comment}" for name, (value, comment) in constants.items()]
    script = tmp_path / "any.py"
    script.write_text("\n".join(lines), "utf-8", newline="")
    try:
        workload, _ = workload_of(str(script))
        draft = draft_for(workload, {}, ["a head"])
    except WorkloadError:
        return  # an odd comment, or nothing that could vary
    space, known = parse_space(draft.text, "any.toml"), workload.constants()
    assert space.contains({name: known[name] for name in space.names})
    assert space.feasible({name: known[name] for name in space.names}, known)
    assert list(space.names) == list(draft.varied)
    assert json.dumps(draft.text)  # no lone surrogates
