"""The recipe: the whole plan of one run, and the single description of every option.

The command line is generated from the fields below (`cli/options.py`), a YAML file in `pipelines/` may set any of them,
and `edgekd.compress(...)` takes them as keywords; so a field added here exists everywhere at once.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from edgekd.record import Record

MODEL, STUDENT, TRAIN, JUDGE, IMAGES, TABLES, CANDIDATES, VERDICT, RUN = (
    "Model and data",
    "Student",
    "Training",
    "Judging the teacher",
    "Image preprocessing (default: checkpoint, then timm, then the data)",
    "Text and tables (CSV, TSV, Parquet)",
    "Candidates",
    "Verdict",
    "Run",
)


def _option(default: Any, panel: str, text: str, **limits: Any) -> Any:
    return Field(default, description=text, json_schema_extra={"panel": panel}, **limits)


class Recipe(Record):
    """Every setting of a run. Paths are as the user wrote them; None means "decide and say so"."""

    model: str | None = Field(
        None, description="The trained model: .pt2, .pt, .pth, .safetensors, .onnx, or a text encoder's folder."
    )
    target: str = _option("host", MODEL, "Device to fit: a name from `edgekd devices`, or a profile's YAML file.")
    data: str | None = _option(
        None,
        MODEL,
        "Folder of class folders of images or WAV files, with a coco.json, or of .tar shards; a .npz, .npy, .csv, .tsv "
        "or .parquet file; or file.py:make_data.",
    )
    synthesise: int | None = _option(
        None,
        MODEL,
        "Inputs to synthesise from the teacher where there is no --data [default: 2048 to train a student, else 0].",
        ge=0,
    )
    classes: str | None = _option(None, MODEL, "Text file: class names in the order of the model's outputs.")
    front: tuple[str, ...] = _option(
        (),
        MODEL,
        "What the model was trained behind, put into the graph before it, such as log_mel=40; may be repeated.",
    )
    arch: str | None = _option(
        None, MODEL, "Architecture of a state dict: timm:NAME, torchvision:NAME or file.py:build."
    )
    task: str | None = _option(
        None, MODEL, "classification, regression, detection or generic [default: by labels, else by outputs]."
    )
    sample_rate: int | None = _option(None, MODEL, "Of sounds, in Hz [default: the data's own].", ge=100, le=384_000)
    duration: str | None = _option(
        None,
        MODEL,
        "Length that sounds are cut or padded to, such as 1s [default: the model's, else what 95 % of them do not "
        "exceed, at most 10 s].",
    )
    licence: tuple[str, ...] = _option(
        (),
        MODEL,
        "Licence that goes into the artifact, as SPDX names it: teacher=MIT, data=CC-BY-4.0 or student=Apache-2.0; may "
        "be repeated [default: what the files say].",
    )
    trust: bool = _option(False, MODEL, "Run code that comes inside the model file or is named by a recipe.")

    student: str | None = _option(
        None,
        STUDENT,
        "auto (prune the teacher), none (compress it as it is), timm:NAME, torchvision:NAME, file.py:build.",
    )
    student_input: tuple[str, ...] = _option(
        (),
        STUDENT,
        "What the student alone takes its inputs through: resize=H,W, bands=N, pca=N, log_mel=N; may be repeated.",
    )
    keep_macs: float | None = _option(
        None,
        STUDENT,
        "Share of MACs that --student auto keeps [default: the largest of 75, 50, 35, 25 and 15 % whose "
        "estimate fits a latency budget, else 0.5].",
        gt=0,
        lt=1,
    )
    prune_steps: int = _option(
        1, STUDENT, "Steps in which --student auto is pruned, with a short training between them.", ge=1
    )

    epochs: int | None = _option(None, TRAIN, "Passes over the training images [default: 30].", ge=1)
    time: str | None = _option(None, TRAIN, "Wall-clock budget for training instead, such as 20m: student and control.")
    batch_size: int = _option(128, TRAIN, "Images per training step.", ge=1)
    learning_rate: float | None = _option(None, TRAIN, "Peak learning rate [default: by student].", gt=0)
    optimizer: Literal["sgd", "adamw"] | None = _option(
        None,
        TRAIN,
        "[default: sgd for nets with batch normalisation, adamw for others, such as transformers, and detectors]",
    )
    weight_decay: float | None = _option(None, TRAIN, "Weight decay [default: 0.0005].", ge=0)
    loss: tuple[str, ...] = _option(
        (), TRAIN, "NAME or NAME=WEIGHT; may be repeated, with labels=WEIGHT for the labels' own [default: by task]."
    )
    temperature: float | None = _option(None, TRAIN, "Softmax temperature [default: each loss's own].", gt=0)
    pair: tuple[str, ...] = _option(
        (), TRAIN, "STUDENT_LAYER=TEACHER_LAYER that feature losses match; may be repeated [default: found]."
    )
    augment: Literal["strong", "crop+flip", "crop", "flip", "none"] | None = _option(
        None, TRAIN, "Random views of training images [default: crop+flip in colour, crop in grey, flip for boxes]."
    )
    mixup: float = _option(0.0, TRAIN, "Mix pairs of inputs by shares drawn from Beta(MIXUP, MIXUP); 0 does not.", ge=0)
    peers: int = _option(0, TRAIN, "Further students trained beside this one; all teach one another.", ge=0)
    adapt_teacher: int | None = _option(
        None, MODEL, "Passes over the data that bring a teacher of other classes to these: a new head, then all.", ge=1
    )
    co_teacher: tuple[str, ...] = _option(
        (), TRAIN, "A further teacher, .pt2, .onnx or a state dict that fits --arch; may be repeated."
    )
    combine: Literal["mean", "weighted", "confident"] = _option(
        "mean", TRAIN, "How several teachers count: alike, by validation score, or by how sure each is of a sample."
    )
    assistant: str | None = _option(
        None, TRAIN, "A student in between, which learns from the teacher first and then teaches: as --student."
    )
    generations: int = _option(
        1, TRAIN, "Train the student this many times, each taught by the one before (born again).", ge=1
    )
    teacher_cache: str | None = _option(
        None, TRAIN, "Folder that keeps what the teacher says across runs [default: the run's own, where it pays]."
    )
    patience: int | None = _option(None, TRAIN, "Evaluations without gain after which a training stops early.", ge=1)
    judge: bool = _option(True, JUDGE, "Also train the student without the teacher, and ship the better one.")
    seeds: int = _option(1, JUDGE, "Train both this many times; the gain gets an interval over seeds.", ge=1)
    folds: int | None = _option(None, JUDGE, "Also cross-validate student and control over this many parts.", ge=2)
    tune: int | None = _option(None, JUDGE, "First search training settings by this many short trainings.", ge=1)
    ablate: bool = _option(False, JUDGE, "Also train with each loss alone, and compare them by score and cost.")

    input_size: str | None = _option(None, IMAGES, "Height,width of the model's input.")
    mean: str | None = _option(None, IMAGES, "Mean per channel, in the units of --scale.")
    std: str | None = _option(None, IMAGES, "Standard deviation per channel, in the units of --scale.")
    scale: Literal["0..1", "0..255"] | None = _option(None, IMAGES, "Range of pixel values before mean and std.")
    channels: Literal["rgb", "bgr"] | None = _option(None, IMAGES, "Channel order the model expects.")
    resize: Literal["bilinear", "bicubic"] | None = _option(None, IMAGES, "Interpolation.")
    crop: float | None = _option(
        None, IMAGES, "Share of the resized short side that the centre crop keeps.", gt=0, le=1
    )

    tokenizer: str | None = _option(
        None,
        TABLES,
        "tokenizer.json, or BERT's vocab.txt, that the model was trained with [default: the model folder's].",
    )
    max_length: int | None = _option(
        None, TABLES, "Tokens that every text is cut or padded to [default: holds 99.5 % of the texts whole].", ge=2
    )
    label_column: str | None = _option(None, TABLES, "Column of the labels [default: label, else target].")
    text_column: tuple[str, ...] = _option(
        (),
        TABLES,
        "Column of the text; given twice, those of a pair [default: text, else a pair's, such as sentence1 and "
        "sentence2, else sentence, else the only two of text].",
    )

    schemes: str = _option(
        "auto",
        CANDIDATES,
        "Schemes that compete, separated by commas; auto: all that the device runs, bar the rungs.",
    )
    rungs: str = _option(
        "int8_products,int8_corrected,int8_mixed,int8_searched,int8_qad",
        CANDIDATES,
        "Schemes tried one after the other while int8_static loses too much score; none for none.",
    )
    ranges: str | None = _option(
        None, CANDIDATES, "Table of calibrated ranges that an earlier run on the same model kept, to use again."
    )
    search_time: str = _option("10m", CANDIDATES, "Wall-clock limit of each of these, such as 10m.")
    runtimes: str = _option("onnxruntime,openvino", CANDIDATES, "Runtimes that compete, where the device has them.")
    emulate: bool = _option(
        False,
        CANDIDATES,
        "Count what the target's Arm core executes, and score int8 as its kernels compute it, under emulation.",
    )
    calibration_images: int = _option(512, CANDIDATES, "Training images that calibrate int8.", ge=1)

    budget: tuple[str, ...] = _option(
        (),
        VERDICT,
        "Limit whose miss fails the run: latency=30ms (95th percentile; latency_p50, latency_p99), memory=64MiB, "
        "size=2MiB, load=1s, drop=1%; latency=60ms@raspberry-pi-4 is for that device alone; may be repeated.",
    )
    warn: tuple[str, ...] = _option(
        (), VERDICT, "Limit, written like a --budget, whose miss is only said; may be repeated."
    )
    allow_estimate: bool = _option(False, VERDICT, "Let an estimate decide a budget; its whole interval must fit.")

    seed: int = _option(0, RUN, "Seed of splits, sample order, augmentation and new weights.", ge=0)
    accelerator: Literal["auto", "cpu", "cuda"] = _option("auto", RUN, "Where training runs.")
    code: dict[str, str] = {}
    """`file.py:function` to the SHA-256 of the file, as recorded when the recipe was saved."""


TRAINING_FIELDS = {
    name
    for name, field in Recipe.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["panel"] in (STUDENT, TRAIN, JUDGE)
} | {"seed", "accelerator"}
"""Fields that a trained student depends on, besides model and data."""

CODE_FIELDS = ("arch", "student", "assistant", "data")
"""Fields that may name `file.py:function`."""


def code_file(value: str | None) -> Path | None:
    """The Python file of a `file.py:function` value, or None where the value is something else."""
    if value is None or ".py:" not in value:
        return None
    return Path(value.rpartition(":")[0])
