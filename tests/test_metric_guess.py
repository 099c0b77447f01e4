"""What a script prints is read from its text: each guess finds the number in the line that is really printed."""

from __future__ import annotations

import contextlib
import io
import logging

import pytest

from optimize.runner.progress import MetricParser, ProgressParser
from optimize.script.bare_numbers import bare_number_named, likely_metrics
from optimize.script.metric_guess import guess_metrics, guess_named
from optimize.script.metric_words import direction_of
from optimize.script.progress_guess import framework_progress, guess_progress
from optimize.trial import Metric, ProgressFormat


def printed_by(code: str) -> list[str]:
    out = io.StringIO()
    log = logging.StreamHandler(out)
    log.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"))  # Hydra's
    logging.getLogger("a").addHandler(log)
    with contextlib.redirect_stdout(out):
        exec(compile(code, "script", "exec", dont_inherit=True), {"logging": logging})
    logging.getLogger("a").removeHandler(log)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        ("x = 0.25\nprint(f'val_bpb: {x:.6f}')", "val_bpb", 0.25),
        ("x = 0.25\nprint('Loss:', x)", "Loss", 0.25),
        ("x = 0.125\nprint('Loss:', x + x)", "Loss", 0.25),
        ("x = 0.25\nprint(f'step {3}: train loss {1.5:.4f}, val loss {x:.4f}')", "val_loss", 0.25),
        (
            "x = 0.25\nprint('Accuracy: {}/{} ({:.0f}%)\\n'.format(1, 4, x * 100), f'Test loss = {x}')",
            "test_loss",
            0.25,
        ),
        ("x = 0.25\nprint('| epoch %3d | valid ppl %8.2f |' % (3, x))", "valid_ppl", 0.25),
        ("import json\nx = 0.25\nprint(json.dumps({'epoch': 1, 'val_acc': x}))", "val_acc", 0.25),
        ("x = 0.25\nprint('epoch ' + str(2) + ' rmse ' + str(x))", "rmse", 0.25),
        ("x = 0.25\nline = f'final test error {x:9.3f} after {7} s'\nprint(line)", "final_test_error", 0.25),
        ("x = 0.25\nprint({'loss': 3.0, 'eval_f1': x})", "eval_f1", 0.25),
        ("x = 0.25\nprint('loss', 9.0)\nprint('val_loss', x)", "val_loss", 0.25),
        ("val_loss = 0.25\nprint(f'[{3}/{10}] {val_loss:.3f} {4.0:.1f}')", "val_loss", 0.25),
        ("x = 0.25\nlogging.getLogger('a').warning('val_loss: %.6f', x)", "val_loss", 0.25),
        ("x = 0.25\nlogging.getLogger('a').warning(f'[{3}/{10}] {4.0} val_loss {x}')", "val_loss", 0.25),
        ("import json\nm = {'train_acc': 0.5, 'val_acc': 0.25}\nprint(json.dumps(m, indent=2))", "val_acc", 0.25),
        ("import json, sys\njson.dump({'acc': 0.25, 'n': 3}, sys.stdout)\nprint()", "acc", 0.25),
        ("def f():\n    return {'train_rmse': 9.0, 'rmse': 0.25}\nscores = f()\nprint(scores)", "rmse", 0.25),
        ("x = 0.25\nprint('epoch  train_loss   val_loss')\nprint(f'{3:5d}  {9.0:10.4f} {x:10.4f}')", "val_loss", 0.25),
        ("x = 0.25\nprint('| step | val_mae |')\nprint(f'| {3:4d} | {x:7.3f} |')", "val_mae", 0.25),
        ("x = 0.25\nprint(f'train: loss {1.0} acc {2.0}')\nprint(f'test: loss {x} acc {4.0}')", "test_loss", 0.25),
        ("x = 0.25\nfor _ in 'ab':\n    print(f'val loss {x}')\nprint(f'final test loss {4.0}')", "val_loss", 0.25),
        ("val_acc = 0.25\nprint(f'Train: {9.0}, Val: {val_acc:.2f}, Test: {8.0:.2f} acc')", "val", 0.25),
        (
            "def test(a):\n    print('loss', a, 'n', 3)\ndef validate(a):\n    print('loss:', a, 4)\nvalidate(0.25)\ntest(9.0)",
            "loss", 0.25,
        ),
        (
            "def f():\n    msg = 'val acc {0:.2f} of {1}'\n    print(msg.format(0.25, 7))\n"
            "def g():\n    msg = 'test acc {0:.2f}'\n    print(msg.format(9.0))\nf()\ng()",
            "val_acc", 0.25,
        ),
        (
            "def main():\n    def print_it(head, ppl, n):\n"
            "        print('  - {head:14} ppl: {p: 8.5f}, n: {n}'.format(head=f'({head})', p=ppl, n=n))\n"
            "    for epoch in range(2):\n        print_it('Training', 9.0, 3)\n        print_it('Validation', 0.25, n=4)\nmain()",
            "ppl", 0.25,
        ),
        (
            "def show(x, part):\n    print(f'{part} accuracy: {x}, in {7}')\nshow(0.25, 'Test')\nshow(0.75, part='Train')",
            "test_accuracy", 0.25,
        ),
        (
            "def show(x, part='test'):\n    print('Accuracy on ' + part, x)\nshow(0.25)\nshow(0.75, 'train')",
            "accuracy_on_test", 0.25,
        ),
        (
            "i = {'r': type('A', (), {'__repr__': lambda s: '[0.25]'})()}\nprint(f\"step={3}, episodic_return={i['r']}\")",
            "episodic_return", 0.25,
        ),
        (
            "form = '%9s' + '%11i' * 2 + '%11.3g' * 2\nhead = ('%9s' + '%11s' * 4) % ('Class', 'n', 'm', 'mAP50', 'mAP')\n"
            "map50, map = 0.75, 0.25\nprint(head)\nprint(form % ('all', 5, 6, map50, map))",
            "map", 0.25,
        ),
        ("x = 0.25\nprint('Total time: {:.4f}s'.format(3.0), 'test loss: {:.4f}'.format(x))", "test_loss", 0.25),
        ("x = 0.25\nprint(f'{3.5} samples/s val acc: {x:.2f}')\nprint(f'{1.5:.1f}ms/it train loss {7.0}')", "val_acc", 0.25),
        ("x = 0.25\nprint(f'{3.5:.1f} sec')\nprint(f'{3} dev loss: {x}')", "dev_loss", 0.25),
        ("x = 0.25\nprint(f'Accuracy of the network on the 10000 test images: {x} %')", "accuracy_test", 0.25),
        ("x = 0.25\nprint('The best model of this run has a validation accuracy of', x)", "best_validation_accuracy", 0.25),
        ("loss = type('A', (), {'__repr__': lambda s: 'tensor(0.25)'})()\nprint('epoch', 3, 'loss', loss)", "epoch_3_loss", 0.25),
    ],
)  # fmt: skip
def test_a_guess_finds_its_number_in_what_is_printed(code: str, name: str, value: float) -> None:
    guess = guess_metrics({"train.py": code})[0]
    assert guess.name == name
    parser = MetricParser(Metric(guess.name, guess.direction, guess.regex))
    for line in printed_by(code):
        parser.parse(line.encode())
    assert parser.found().value == value


@pytest.mark.parametrize(
    ("code", "step", "total", "loss"),
    [
        ("for epoch in range(4):\n    print(f'epoch {epoch} loss {0.5:.3f}')", 3, 4, 0.5),
        ("for i in range(1, 4 + 1):\n    print(f'[{i}/{4}] Loss_D: {0.5}')", 4, 4, 0.5),
        ("N = 4\nfor step in range(N):\n    print('iter %d: lr %.1f train loss %.2f' % (step, 9, 0.5))", 3, 4, 0.5),
        ("it = 0\nwhile True:\n    print(f'iter {it}: loss {0.5}')\n    it += 1\n    if it > 4: break", 4, 4, 0.5),
        (
            "def one(epoch):\n    print(f'Train Epoch: {epoch} [{64}/{99} (3%)]\\tLoss: {0.5}')\n"
            "for epoch in range(4):\n    one(epoch)",
            3, 4, 0.5,
        ),
        ("for epoch in range(4):\n    print(f'Epoch {epoch + 1}/4 - val_loss: {0.5}')", 4, 4, 0.5),
        (
            "for one in range(1, 6):\n    print(f'Attempt {one}/{5} failed')\n"
            "for i in range(4):\n    print(f'iter {i} loss {0.5}')",
            3, 4, 0.5,
        ),
        (
            "def one(model, ep):\n    print(f'Epoch: [{ep}/{N}] loss {0.5}')\nN = 4\nfor e in range(N):\n    one(None, e)",
            3, 4, 0.5,
        ),
        (
            "class T:\n    def one(self, e):\n        print(f'Epoch {e} loss {0.5}')\nt = T()\nfor k in range(4):\n    t.one(e=k)",
            3, 4, 0.5,
        ),
        ("def one(k):\n    print('Epoch: [%d/%d] loss %f' % (k, 4, 0.5))\nfor epoch in [2, 3]:\n    one(epoch)", 3, 4, 0.5),
        (
            "N = 4\nfor epoch in range(1, N + 1):\n    print(('%9s' * 2 + '  loss %9.4g') % (f'{epoch}/{N}', '2G', 0.5))",
            4, 4, 0.5,
        ),
        ("def log(step):\n    print(f'{step}: loss {0.5}')\ns = 0\nfor s in range(4):\n    log(s)", 3, 4, 0.5),
    ],
)  # fmt: skip
def test_progress_is_read_from_the_lines_of_a_loop(code: str, step: int, total: float, loss: float) -> None:
    guess = guess_progress({"train.py": code})
    assert guess is not None
    said = (
        float(eval(compile(__import__("ast").Expression(guess.total), "", "eval"), {"N": 4})) if guess.total else None
    )
    found = ProgressParser(ProgressFormat(guess.regex, said), 0).parse(printed_by(code)[-1].encode())
    assert found is not None
    assert (found.step, found.loss, round(found.fraction, 3)) == (step, loss, round(step / total, 3))


def test_what_frameworks_print_by_themselves_is_known() -> None:
    trainer = {"train.py": "from transformers import Trainer\ndef m(p):\n    return {'accuracy': 1}\nTrainer().train()"}
    assert [guess.name for guess in guess_metrics(trainer)] == ["eval_loss", "eval_accuracy", "train_loss"]
    keras = {"train.py": "import keras\nm.compile(metrics=['accuracy'])\nm.fit(x, y, validation_split=0.1)"}
    assert [guess.name for guess in guess_metrics(keras)] == ["val_accuracy", "val_loss"]
    lightning = {"train.py": "import lightning\nclass M:\n    def f(self):\n        self.log('val_loss', 1)"}
    assert [guess.name for guess in guess_metrics(lightning)] == ["val_loss"]
    progress = framework_progress(keras)
    assert progress is not None
    found = ProgressParser(ProgressFormat(progress.regex), 0).parse(b"Epoch 3/4")
    assert found is not None
    assert found.fraction == 0.75


@pytest.mark.parametrize(
    "line",
    [
        "print('step=3 ' + ' '.join(f'{k}={v:.4f}' for k, v in found.items()))",
        "for name, value in found.items():\n    print(f'{name:<12}: {value}')",
        "for name, value in found.items():\n    print(name, value)",
    ],
)
def test_a_name_that_only_a_dictionary_has_is_found_where_its_entries_are_printed(line: str) -> None:
    code = f"found = dict([('train_loss', 9.0), ('val/loss', 0.25), ('loss_scale', 8.0)])\n{line}"
    for name in ("loss", "val/loss"):
        guess = guess_named({"train.py": code}, name)
        assert guess is not None
        parser = MetricParser(Metric(name, regex=guess.regex))
        for each in printed_by(code):
            parser.parse(each.encode())
        assert parser.found().value == 0.25
    assert guess_named({"train.py": "for k, v in pairs:\n    print(k, v)"}, "loss") is None


def test_a_trainer_of_ones_own_is_not_that_of_transformers() -> None:
    own = {"train.py": "import transformers\nclass Trainer: pass\nTrainer().run()\nx = 1.0\nprint('loss', x)"}
    assert [guess.name for guess in guess_metrics(own)] == ["loss"]
    assert framework_progress(own) is None


def test_a_log_says_what_the_text_does_not() -> None:
    log = "Epoch 1 valid_auc=0.71\nEpoch 2 valid_auc=0.82\nsaved to out-3.pt\n"
    guess = guess_metrics({}, log)[0]
    assert (guess.name, guess.direction) == ("valid_auc", "maximize")
    parser = MetricParser(Metric(guess.name, guess.direction, guess.regex))
    for line in log.splitlines():
        parser.parse(line.encode())
    assert parser.found().value == 0.82


def test_a_name_says_which_direction_is_better() -> None:
    assert [direction_of(name) for name in ("val_loss", "test_acc", "RMSE", "AUROC", "size")] == [
        "minimize", "maximize", "minimize", "maximize", "",
    ]  # fmt: skip


def test_a_percentage_behind_a_step_tells_how_far_it_is() -> None:
    code = "while True:\n    print(f'\\rstep {5:05d} ({33.3:.1f}%) | loss: {0.5:.6f}')\n    break"
    guess = guess_progress({"train.py": code})
    assert guess is not None
    assert guess.total is None
    found = ProgressParser(ProgressFormat(guess.regex), 0).parse(printed_by(code)[-1].encode())
    assert found is not None
    assert (found.step, found.fraction, found.loss) == (5, pytest.approx(0.333), 0.5)


def test_a_number_behind_a_slash_is_offered_by_its_variable_and_as_one_of_validation() -> None:
    line = "f'Epoch {e}/{n} | loss {tr_loss:.3f}/{va_loss:.3f} | acc {tr_acc:.1f}%/{va_acc:.1f}%'"
    guesses = guess_metrics({"train.py": f"for e in range(3):\n    print({line})\n"})
    assert [guess.name for guess in guesses] == ["va_loss", "va_acc", "loss", "acc"]
    parser = MetricParser(Metric("va_loss", regex=guesses[0].regex))
    parser.parse(b"Epoch 1/3 | loss 1.620/1.983 | acc 20.0%/30.0%")
    assert parser.found().value == 1.983


def test_what_is_said_before_giving_up_is_no_metric() -> None:
    for said in ("Loss is {}, stopping training", "Warning: bad score for {}"):
        assert guess_metrics({"train.py": f"loss = 1.0\nprint('{said}'.format(loss))"}) == []


def test_what_is_no_metric_is_not_guessed() -> None:
    code = "print(f'lr {1} step {2} time {3}')\nprint('hello', 3)\nprint(f'{4}')\nopen('f').write(f'loss {5}')\n"
    assert guess_metrics({"train.py": code}) == []
    assert guess_progress({"train.py": code}) is None


LOOP = """\
hist, sloss, stats = [], [], {}
for i in range(3):
    hist.append(0.25)
    sloss.append(0.25)
    stats['final'] = 0.25
"""


@pytest.mark.parametrize(
    ("printed", "name", "direction"),
    [
        ("print(sloss[-1])", "sloss", "minimize"),
        ("print(min(sloss))", "sloss", "minimize"),
        ("print(sum(hist) / 3)", "hist", ""),
        ("print(hist[-1])", "hist", ""),
        ("print(f'{hist[-1]:.4f}')", "hist", ""),
        ("print(stats['final'])", "final", ""),
    ],
)
def test_a_number_without_a_word_at_the_end_is_offered(printed: str, name: str, direction: str) -> None:
    guess = likely_metrics({"train.py": LOOP + printed})[0]
    assert (guess.name, guess.direction) == (name, direction)
    parser = MetricParser(Metric(guess.name, regex=guess.regex))
    for line in ["100%|█████| 10/10 [00:01<00:00,  9.61it/s]", "27 letters", *printed_by(LOOP + printed)]:
        parser.parse(line.encode())
    assert parser.found().value == 0.25


@pytest.mark.parametrize(
    "printed",
    [
        "print(len(hist))",
        "print(hist[-1])\nfor i in range(3):\n    pass",
        "print('done')",
        "print(sloss[-1])\nprint(t1 - t0)",
    ],
)
def test_a_number_that_is_no_result_is_not(printed: str) -> None:
    assert likely_metrics({"train.py": LOOP + printed}) == []


def test_a_number_without_a_word_is_found_by_its_name() -> None:
    files = {"train.py": LOOP + "print('loss', 3.0 * i)\nprint(hist[-1])\n"}
    assert [guess.name for guess in likely_metrics(files)] == ["loss"]
    for name in ("hist", "Hist"):
        guess = bare_number_named(files, name)
        assert guess is not None
        assert (guess.name, guess.where) == (name, "train.py:7")
    assert bare_number_named(files, "sloss") is None


def test_a_log_that_ends_with_a_number_offers_it() -> None:
    assert [guess.name for guess in likely_metrics({"train.py": "main()"}, "27\n1.5\n")] == ["result"]
    assert [guess.name for guess in likely_metrics({"train.py": LOOP + "print(hist[-1])"}, "a: 3\n1.5\n")] == ["hist"]
    assert likely_metrics({"train.py": "main()"}, "27\nsaved to 3.pt\n") == []


@pytest.mark.parametrize(
    ("name", "direction"),
    [("lossi", "minimize"), ("errs", "minimize"), ("valacc", "maximize"), ("val_ppl2", "minimize"),
     ("stderr", ""), ("underscore", ""), ("accum", ""), ("lossless", "")],
)  # fmt: skip
def test_words_written_as_one_have_a_direction(name: str, direction: str) -> None:
    assert direction_of(name) == direction


def test_a_person_sees_what_was_printed_or_that_nobody_has_seen_it() -> None:
    (of_text,) = guess_metrics({"train.py": "print(f'Test accuracy: {100 * a:.2f}%')\n"})
    assert (of_text.shown, of_text.where) == ("Test accuracy: …%", "train.py:1")
    (of_log,) = guess_metrics({}, "step 1\nTest accuracy: 84.62%\n")
    assert (of_log.shown, of_log.where) == ("Test accuracy: 84.62%", "line 2 of its output")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        *(
            (f"print({each})", "")
            for each in ("model", "args", "model.summary()", "vars(args)", "loss_fn", "self.criterion")
        ),
        ("print('loss:', loss_fn)", ""),
        ("print(f'accuracy {model}')", ""),
        ("print(model_loss)", "model_loss"),
        ("print('loss:', loss_fn(x, y))", "loss"),
        ("print('accuracy:', model.accuracy)", "accuracy"),
        ("print(f'loss: {criterion:.4f}')", "loss"),
        ("print('Accuracy:', accuracy_model)", "Accuracy"),
        ("print(rmse_net)", "rmse_net"),
        ("print(loss_history)", ""),
    ],
)
def test_an_object_that_is_printed_is_no_number(code: str, name: str) -> None:
    text = f"import x\nmodel, args, loss_fn, criterion = x.make()\nmodel_loss = x.loss(model)\n{code}\n"
    assert [each.name for each in likely_metrics({"train.py": text})] == [name] * bool(name)
