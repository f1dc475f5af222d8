"""What differs from backend to backend: its start, devices, precision and fast ways. Nothing else imports one."""

import gc
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from competition.console import warn
from competition.errors import CompetitionError
from competition.parallel import cores

# Beginnings of names of what may change the bits of a result.
SETTINGS = ("KERAS_", "TF_ENABLE_", "TF_DISABLE_", "TF_XLA_", "TF_CUDNN_", "TF_GPU_", "XLA_", "ONEDNN_", "DNNL_",
            "OMP_", "MKL_", "JAX_", "TORCH_", "CUBLAS_", "CUDA_DEVICE_ORDER", "NVIDIA_TF32")  # fmt: skip
CACHES = ("JAX_COMPILATION_CACHE_", "JAX_PERSISTENT_CACHE_")  # of those, what changes none: where the compiled is kept

# Keras imports these where they are installed, for wrappers and converters that nothing here uses: a second each.
UNUSED = {"sklearn", "jax"}

DEVICES, DRIVER = Path("/dev"), Path("/proc/driver/nvidia")  # where Linux tells of NVIDIA's cards


def start(threads: int | str, deterministic: bool = True) -> None:
    """Import Keras with bit-equal repeats switched on.

    The backend is that of ``KERAS_BACKEND``, else TensorFlow. The bits of a result also depend on the number of
    threads, so it is set and not left to the machine.

    Args:
        threads: CPU threads of one operation; ``auto`` takes all cores.
        deterministic: whether repeats are to be equal to the last bit; without, some operations are faster.
    """
    name, count = _name(), threads_used(threads)
    _set_environment(name, count, deterministic)
    load()
    import keras

    keras.config.set_floatx("float32")  # these three: its own defaults, whatever a keras.json in the home says
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    _set_backend(name, count, deterministic)
    if multiprocessing.parent_process() is None and (told := missed_card()):  # else each process would say it
        warn(told)


def load() -> None:
    """Import Keras and its backend, and start nothing: a process that is forked from this one has them.

    Raises:
        CompetitionError: the backend is not installed.
    """
    name = _name()
    # 2 keeps errors. Without a card even its error that there is none would be told, so none is kept.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _has_card() else "3")
    try:
        with _without_remarks(), without(UNUSED - {name}), _without_collecting():
            import keras  # noqa: F401  (and with it the backend)

            if name != "tensorflow" and find_spec("tensorflow"):
                import tensorflow  # noqa: F401  (Keras's layers load it anyway, later, and its remarks were seen)
    except ImportError as error:
        raise CompetitionError(f"KERAS_BACKEND is {name}, and {error}; pip install -e '.[{name}]'") from None


def _name() -> str:
    return os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def _set_environment(name: str, count: int, deterministic: bool) -> None:
    """Set what a backend reads once, while it is imported or with its first operation."""
    if name == "jax":
        os.environ["NPROC"] = str(count)  # that its runtime asks for the size of its pool, once
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else the first of two takes most of a card
        flags = os.environ.get("XLA_FLAGS", "")
        if deterministic and "xla_gpu_deterministic_ops" not in flags:  # without, a card's sums may differ
            os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if name == "torch" and deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without, CUDA's products refuse to be equal


def _set_backend(name: str, count: int, deterministic: bool) -> None:
    """Set what a backend is told once it is imported."""
    if name == "tensorflow":
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # drops remarks about retracing: every fold is a new model
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    elif name == "torch":
        import torch

        torch.set_num_threads(count)
        torch.use_deterministic_algorithms(deterministic)


def _has_card() -> bool:
    return any(DEVICES.glob("nvidia[0-9]*"))


def missed_card() -> str:
    """Tell of a card which models do not run on, else nothing: TensorFlow's own remark is left out. JAX makes one."""
    name = os.environ["KERAS_BACKEND"]
    if name == "jax" or not (_has_card() and visible_cards()):
        return ""
    if name == "torch":
        import torch

        is_missed, remedy = not torch.cuda.is_available(), "install PyTorch with its CUDA"
    else:
        import tensorflow as tf

        is_missed = not tf.config.list_physical_devices("GPU")
        remedy = "pip install -c constraints.txt -e '.[gpu]'"
    if not is_missed:
        return ""
    return (
        f"there is {DEVICES}/nvidia*, but {name} lists no graphics card, so models run on the CPU; {remedy}, see "
        "whether nvidia-smi lists the card, or set CUDA_VISIBLE_DEVICES=-1 where this is meant"
    )


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Leave out two remarks that TensorFlow prints while it loads, before any setting of its log is read.

    Everything else that is written to stderr meanwhile is passed on.
    """
    known = (b"absl::InitializeLog()", b"oneDNN custom operations are on", b"Could not find cuda drivers")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            told = [line for line in held if not any(remark in line for remark in known)]
            os.write(2, b"".join(told))


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Import without garbage collection, and leave what was imported out of it from then on, for it stays.

    To look through it took 0.5 s during the import, and 0.2 s for every model that is built.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if not gc.get_freeze_count():
            gc.freeze()


@contextmanager
def without(packages: set[str]) -> Iterator[None]:
    """Let imports of these packages fail, as if they were not installed, but of those that have been imported."""
    hidden = packages - set(sys.modules)
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None stands for what cannot be imported
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


def threads_used(threads: int | str) -> int:
    """Return the number of threads that a ``threads`` parameter means on this machine."""
    return cores() if threads == "auto" else int(threads)


def precision(wanted: str) -> str:
    """Return what a ``precision`` parameter means on this machine: float32, bfloat16 or float16.

    A TPU is fast at bfloat16. NVIDIA's cards are from compute capability 8.0 on, at float16 from 7.0 on; others do not
    tell.
    A CPU that has AMX computes bfloat16 faster. AVX-512 with bfloat16 is faster on AMD's CPUs, but on Intel's it has
    little more than half the rate of float32: a Xeon whose AMX is hidden by its virtual machine did 163 GFLOP/s of
    training for 292. Without either it is far slower.
    """
    if wanted != "auto":
        return wanted
    if device().startswith("tpu"):
        return "bfloat16"
    if not device().startswith("cpu"):
        return "bfloat16" if _capability() >= 8 else "float16" if _capability() == 7 else "float32"
    cpu = cpu_features()
    return "bfloat16" if "amx_bf16" in cpu or {"AuthenticAMD", "avx512_bf16"} <= cpu else "float32"


def _capability() -> int:
    """Return the compute capability of the card, without what stands after the point; 0 where it is not known."""
    import keras

    name = keras.backend.backend()
    if name == "torch":
        import torch

        return torch.cuda.get_device_capability()[0]
    if name == "jax":
        import jax

        whole = getattr(jax.devices()[0], "compute_capability", "").partition(".")[0]
        return int(whole) if whole.isdigit() else 0  # AMD's are named otherwise
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(cards[0]) if cards else {}
    return details.get("compute_capability", (0, 0))[0]


def seed_generator(seed: int) -> None:
    """Seed what draws at random outside the model: PyTorch's one generator. Elsewhere each layer holds its own.

    Not `keras.utils.set_random_seed`: TensorFlow then forgets what it has compiled, and compiles it again.
    """
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def jit(model: Any, deterministic: bool) -> bool:
    """Return whether the training step of a model is compiled as a whole.

    JAX needs it. TensorFlow gains by it on a card, where it may change the bits. On a CPU it is slower with it, and on
    several cards it fails: what it has compiled reaches the copy of the model on one only.
    """
    import keras

    name = keras.backend.backend()
    is_faster = not deterministic and replicas(model) == 1 and not device().startswith("cpu")
    return name == "jax" or (name == "tensorflow" and is_faster)


def device_count(batch_size: int, accumulate_batches: int = 1) -> int:
    """Return over how many cards a batch is spread: all of them, or as many as it can be cut into equal parts for.

    It is one for PyTorch, and for TensorFlow where gradients of several batches are accumulated: Keras averages them
    over the cards in the step alone, which is only sometimes made, and there TensorFlow refuses it.
    """
    import keras

    name = keras.backend.backend()
    is_spread = name == "jax" or (name == "tensorflow" and accumulate_batches == 1)
    count = len(_devices()) if is_spread else 1
    return max(number for number in range(1, count + 1) if batch_size % number == 0)


def _devices() -> list[str]:
    """List the devices of the kind that models run on."""
    import keras

    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices()
    import tensorflow as tf

    return [each.name for each in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]


def spread(count: int) -> AbstractContextManager[Any]:
    """Let a model that is built meanwhile spread its batches over so many cards.

    Each has a copy of the model and a part of the batch; the gradients are averaged over them.
    """
    import keras

    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=_devices()[:count]) if count > 1 else None
        keras.distribution.set_distribution(parallel)  # it also cuts the batches, so it stays
    elif count > 1:
        return _mirrored(count).scope()
    return nullcontext()


@cache
def _mirrored(count: int) -> Any:
    """Return the one strategy of a process: each numbers its exchanges from 0, and equal numbers get mixed up."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(_devices()[:count])


def scope(model: Any) -> AbstractContextManager[Any]:
    """Let an optimizer that is made meanwhile know over what the model is spread."""
    return model.distribute_strategy.scope() if replicas(model) > 1 else nullcontext()


def parts(model: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cut the arrays of a batch into a part for each copy of a model.

    Args:
        model: built inside `spread`.
        batch: arrays (b, ...), or None; b is a multiple of the copies.
    """
    count = replicas(model)

    def part(context: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        number = context.replica_id_in_sync_group
        return tuple(None if array is None else tf.constant(np.split(array, count)[number]) for array in batch)

    return model.distribute_strategy.experimental_distribute_values_from_function(part)


def replicas(model: Any) -> int:
    """Count the copies of a model, for each of which a batch has to be cut with `parts`."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def summed(gradients: list[Any]) -> list[Any]:
    """Sum gradients over the copies of a model, each of which calls this with those of its part of the batch."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return gradients  # the backend has done it
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients) if context.num_replicas_in_sync > 1 else gradients


def value(variable: Any) -> np.ndarray:
    """Return a copy of what a variable holds. Where copies of a model hold their own, as moving means, it is the mean.

    A copy, for JAX gives a variable's own memory away when it trains.
    """
    import keras

    copies = getattr(getattr(variable, "value", None), "values", None)
    if isinstance(copies, tuple):  # of TensorFlow, one for each card; a tensor of PyTorch has a method of that name
        mean = np.mean([each.numpy() for each in copies], axis=0, dtype=np.float64)
        return mean.astype(copies[0].dtype.as_numpy_dtype)
    return np.array(keras.ops.convert_to_numpy(variable))


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any] | None:
    """Normalise a batch of images by its own mean and variance in one pass, where the backend can; else None.

    Keras does it in a dozen passes over float32 copies: on two cores, a network whose time was a third theirs.

    Returns:
        The normalised batch, and mean and variance float32 (c,) of the batch.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or len(x.shape) != 4:
        return None
    import tensorflow as tf

    channels = x.shape[-1]
    gamma = tf.ones(channels) if gamma is None else tf.cast(gamma, tf.float32)
    beta = tf.zeros(channels) if beta is None else tf.cast(beta, tf.float32)
    return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon, is_training=True)


def gelu(x: Any) -> Any:
    """Return x times the share of a normal distribution below it, in one pass over the batch and one for the gradient.

    TensorFlow alone takes seventeen passes on a CPU, an eighth of the time that a step of speednet took. None where
    that is not so.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or not device().startswith("cpu"):
        return None
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def value(x: Any) -> Any:
        wide = tf.cast(x, tf.float32)
        return tf.cast(wide * _normal_share(wide), x.dtype)

    @tf.function(jit_compile=True)
    def slope(x: Any, upstream: Any) -> Any:
        wide = tf.cast(x, tf.float32)
        density = tf.exp(-0.5 * wide * wide) / np.sqrt(2 * np.pi)
        return tf.cast(tf.cast(upstream, tf.float32) * (_normal_share(wide) + wide * density), x.dtype)

    @tf.custom_gradient
    def fused(x: Any) -> Any:
        return value(x), lambda upstream: slope(x, upstream)

    return fused(x)


def _normal_share(x: Any) -> Any:
    import tensorflow as tf

    return 0.5 * (1 + tf.math.erf(x / np.sqrt(2)))


def cpu_features() -> set[str]:
    """Return the maker of the CPU and the names of its instruction sets, as Linux tells them; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = [line.partition(":")[2] for line in lines if line.startswith(("vendor_id", "flags"))]
    return {name for line in told for name in line.split()}


def settings() -> dict[str, str]:
    """Return the variables of the environment that may change the bits of a result, the backend always."""
    given = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    chosen = {name: value for name, value in given.items() if not name.startswith(CACHES)}
    return {"KERAS_BACKEND": "tensorflow", **chosen}


def visible_cards() -> list[str]:
    """Return the graphics cards that models may run on, as CUDA_VISIBLE_DEVICES names them: number or identity."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        # The devices may appear with their first use only; in a container, the driver may tell of all of the machine.
        found = [*DEVICES.glob("nvidia[0-9]*")] or [*DRIVER.glob("gpus/*")]
        return [str(number) for number, _ in enumerate(found)]
    names = (name.strip() for name in named.split(","))
    return list(takewhile(lambda name: name and not name.startswith("-"), names))  # -1 hides all that follow


def cards() -> list[str]:
    """Return the models of the visible graphics cards, and their driver; empty where there are none."""
    infos = [info.read_text() for info in sorted(DRIVER.glob("gpus/*/information"))]
    models = [_card_model(name, infos) for name in visible_cards()] if infos else []
    version = (DRIVER / "version").read_text().splitlines()[:1] if models else []
    return [*models, *version]


def _card_model(name: str, infos: list[str]) -> str:
    """Return the model of a card from what the driver tells of all; of a part of one (MIG), its name."""
    told = infos[int(name) :][:1] if name.isdigit() else [info for info in infos if name in info]
    return next((info.splitlines()[0].partition(":")[2].strip() for info in told), name)


def device() -> str:
    """Name the device that models run on."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return f"gpu: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu:0"
    return keras.distribution.list_devices()[0]
