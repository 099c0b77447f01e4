"""Which variables of the environment a script reads, as far as its text tells. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from optimize.script.bindings import imported_modules, parse
from optimize.script.trees import walk

# What well-known packages read themselves, from their documentation; only secrets and what changes data or results.
READ_BY_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "wandb": ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE", "WANDB_DIR", "WANDB_BASE_URL"),
    "huggingface_hub": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    "transformers": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "TRANSFORMERS_CACHE", "TRANSFORMERS_OFFLINE"),
    "datasets": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE"),
    "mlflow": ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_EXPERIMENT_NAME"),
    "comet_ml": ("COMET_API_KEY", "COMET_PROJECT_NAME"),
    "neptune": ("NEPTUNE_API_TOKEN", "NEPTUNE_PROJECT"),
    "clearml": ("CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY", "CLEARML_API_HOST"),
    "boto3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION"),
    "s3fs": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    "google": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"),
    "gcsfs": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "kaggle": ("KAGGLE_USERNAME", "KAGGLE_KEY"),
    "torch": ("TORCH_HOME", "TORCH_LOGS", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    "torchvision": ("TORCH_HOME",),
    "jax": ("JAX_PLATFORMS", "XLA_FLAGS", "JAX_ENABLE_X64"),
    "tensorflow": ("TF_FORCE_GPU_ALLOW_GROWTH", "XLA_FLAGS", "TFDS_DATA_DIR"),
    "nltk": ("NLTK_DATA",),
}
_READERS = ("get", "pop", "setdefault", "__getitem__")


def variables_read(text: str, where: str) -> frozenset[str]:
    """Return the variables that a Python script reads by a name in its text, or that a package reads which it imports.

    Raises RenderError if it is not Python.
    """
    packages = {module.partition(".")[0] for module in imported_modules(text, where)}
    read = (name for package in packages for name in READ_BY_PACKAGES.get(package, ()))
    return frozenset([*_read_by_name(parse(text, where)), *read])


def _read_by_name(tree: ast.Module) -> Iterator[str]:
    for node in walk(tree):
        match node:
            case ast.Subscript(value=base, slice=ast.Constant(value=str(name)), ctx=ast.Load()) if _is_environ(base):
                yield name
            case ast.Call(func=ast.Attribute(value=base, attr=attr), args=[ast.Constant(value=str(name)), *_]):
                if (attr in _READERS and _is_environ(base)) or (attr == "getenv" and ast.unparse(base) == "os"):
                    yield name
            case ast.Call(func=ast.Name(id="getenv"), args=[ast.Constant(value=str(name)), *_]):
                yield name
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()], comparators=[base]):
                if _is_environ(base):
                    yield name


def _is_environ(node: ast.AST) -> bool:
    return ast.unparse(node) in ("os.environ", "environ")
