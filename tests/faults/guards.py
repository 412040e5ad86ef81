"""Removes each guard once, in a copy, and runs a test that must turn red.

`python tests/faults/guards.py` prints the table of README.md beside it; words choose guards.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OTHERS = ("data", "notebooks", "docs", "benchmarks", "tools", "Makefile", "SECURITY.md")
NEVER = "if False and ("


class Guard(NamedTuple):
    """A line of the package that keeps a fault out."""

    fault: str
    place: str  # file:function
    line: str  # as it stands, once in the file
    without: str  # the same line without the guard
    test: str  # file::name, or file::name[case]

    @property
    def file(self) -> Path:
        return Path("annlib", self.place.partition(":")[0])


HOSTILE, KILLS, CASES = "test_hostile_files.py", "test_kills.py", "test_cases.py"
MESSAGES, NUMBERS, NETWORK = "test_messages.py", "test_numbers.py", "test_network.py"
INSIDE = f"{KILLS}::test_training_killed_inside_a_write_equals_the_uninterrupted_run"
LIES = f"{HOSTILE}::test_a_checkpoint_that_lies_is_refused"
GUARDS = [
    Guard(
        "NaN weights",
        "model/checkpoint.py:load",
        "if bad := [k for k, v in model.items() if v.is_floating_point()",
        "if bad := [k for k, v in model.items() if False and v.is_floating_point()",
        f"{NUMBERS}::test_weights_that_are_not_finite_are_not_loaded",
    ),
    Guard(
        "damaged checkpoint",
        "model/checkpoint.py:load",
        'if checksum(metadata["annlib"], tensors) != metadata.get("crc32"):',
        "if False:",
        f"{HOSTILE}::test_random_damage_to_a_checkpoint_is_never_taken_for_weights[60]",
    ),
    Guard(
        "shapes that are not the network's",
        "model/build.py:load_model",
        "if shapes[0] != shapes[1]:",
        "if False:",
        LIES,
    ),
    Guard(
        "facts of another type",
        "config.py:from_json",
        "if wrong := [name for name, value in values.items() if not fits(",
        "if wrong := [name for name, value in values.items() if False and not fits(",
        LIES,
    ),
    Guard(
        "settings of another type",
        "config.py:fits",
        "return kind is Any or type(value) is kind",
        "return True",
        LIES,
    ),
    Guard(
        "number that is not finite in settings",
        "config.py:Checked",
        "if isinstance(one, int | float) and (not 0 <= one < top or is_above_0 and not one):",
        "if False:",
        "../core/test_config.py::test_numbers_that_no_setting_can_have_are_refused_in_python_too",
    ),
    Guard(
        "pickle in place of a checkpoint",
        "model/checkpoint.py:refuse_others",
        "if first_bytes(path).startswith(PICKLE_STARTS):",
        "if False:",
        f"{HOSTILE}::test_no_reader_of_weights_executes_a_pickle",
    ),
    Guard(
        "code in a .pth file",
        "model/convert.py:read_weights",
        "weights_only=True",
        "weights_only=False",
        f"{HOSTILE}::test_no_reader_of_weights_executes_a_pickle",
    ),
    Guard(
        "pointer or web page in place of a file",
        "files.py:what_came_instead",
        'if start.startswith(b"version https://git-lfs"):',
        "if False:",
        f"{MESSAGES}::test_pointers_and_web_pages_are_recognised",
    ),
    Guard(
        "decompression bomb",
        "data/io.py:open_whole",
        "except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:",
        "except (OSError, SyntaxError, ValueError) as error:",
        f"{HOSTILE}::test_a_decompression_bomb_is_refused",
    ),
    Guard(
        "labels in a lossy format",
        "data/io.py:open_labels",
        "if is_lossy or ",
        f"{NEVER}is_lossy) or ",
        f"{CASES}::test_label_files_in_a_lossy_format_are_refused_by_their_content",
    ),
    Guard(
        "labels of few bits",
        "data/io.py:open_labels",
        "values //= 255 // (2**bits - 1)",
        "pass",
        f"{CASES}::test_labels_of_few_bits_are_the_values_in_the_file",
    ),
    Guard(
        "two images for one label file",
        "data/folders.py:check_complete",
        "if shared := shared_labels(pairs):",
        "if False:",
        f"{CASES}::test_two_images_for_one_label_file_are_a_problem",
    ),
    Guard(
        "hidden files of macOS",
        "data/folders.py:visible",
        'if not path.name.startswith(".")',
        "if path.name",
        f"{CASES}::test_files_that_macos_adds_are_left_out",
    ),
    Guard(
        "masks of 0 and 255",
        "data/check.py:training_problem",
        "if own and pixels[IGNORE_INDEX] and (absent or apart):",
        "if False:",
        f"{CASES}::test_masks_of_0_and_255_are_told_before_training",
    ),
    Guard(
        "palette in another order",
        "data/datasets.py:check_palette",
        "if colour != ours and other != name and (values == value).any():",
        "if False:",
        f"{CASES}::test_palette_in_another_order_than_the_class_list_is_told",
    ),
    Guard(
        "archive that reaches outside",
        "data/prepare.py:unpack",
        'packed.extract(member, temporary, filter="data")',
        'packed.extract(member, temporary, filter="fully_trusted")',
        f"{HOSTILE}::test_an_archive_writes_nothing_outside_of_its_folder",
    ),
    Guard(
        "archive larger than the disk",
        "data/prepare.py:unpack",
        "if room < 0:",
        "if False:",
        f"{HOSTILE}::test_an_archive_larger_than_the_disk_is_refused_before_it_fills_it",
    ),
    Guard(
        "key that comes twice",
        "files.py:read_json",
        "if len(found := dict(pairs)) < len(pairs):",
        "if len(found := dict(pairs)) < 0:",
        f"{HOSTILE}::test_settings_of_a_run_that_were_changed_are_refused",
    ),
    Guard(
        "kill inside a write",
        "files.py:write_atomically",
        'path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")',
        "path",
        f"{INSIDE}[1-half of it]",
    ),
    Guard(
        "steps that are taken again after a kill",
        "engine/trainer.py:Trainer.resume",
        "runs.forget_after(self.folder, self.step)  # those steps",
        "pass  # those steps",
        f"{INSIDE}[10-before the rename]",
    ),
    Guard(
        "death of the data worker",
        "data/loader.py:worker_errors",
        "if not died:",
        "if True:",
        f"{MESSAGES}::test_a_connection_that_the_death_of_a_worker_cuts_is_told_as_that",
    ),
    Guard(
        "data workers without file descriptors",
        "data/loader.py:check_open_files",
        "if 0 <= limit < needed:",
        "if False:",
        "test_resources.py::test_too_few_file_descriptors_end_in_a_message_or_do_no_harm[11]",
    ),
    Guard(
        "script in a notebook",
        "course/running/release.py:markdown2html",
        'return bleach.clean(page, TAGS, {"*": ATTRIBUTES}, {*bleach.ALLOWED_PROTOCOLS, "data"})',
        "return page",
        f"{HOSTILE}::test_script_in_a_notebook_does_not_reach_the_pages_that_we_make",
    ),
    Guard(
        "half a download",
        "download.py:fetch",
        "if total and (size := part.stat().st_size) < total:",
        "if False:",
        f"{NETWORK}::test_no_half_and_no_wrong_file_gets_the_name",
    ),
    Guard(
        "another file than was published",
        "download.py:check_hash",
        "if not actual.startswith(start):",
        "if False:",
        f"{NETWORK}::test_no_half_and_no_wrong_file_gets_the_name",
    ),
    Guard(
        "server that stalls",
        "download.py:fetch",
        ".open(request, timeout=TIMEOUT)",
        ".open(request, timeout=60)",
        f"{NETWORK}::test_a_server_that_stalls_is_given_up_and_what_came_is_kept -o timeout=20",
    ),
    Guard(
        "loss that is not finite",
        "engine/optimization.py:train",
        "if not loss.isfinite():",
        "if False:",
        f"{NUMBERS}::test_an_image_that_is_not_finite_stops_the_training_before_the_weights",
    ),
    Guard(
        "scores that are not finite",
        "engine/inference.py:make_predictor",
        "if not maps.isfinite().all():",
        "if False:",
        f"{NUMBERS}::test_half_precision_that_overflows_in_the_attention_is_told",
    ),
    Guard(
        "batch without a label",
        "engine/optimization.py:segmentation_loss",
        "class_weights, **options).sum() / labels.numel()",
        "class_weights, **options).sum() / (labels != IGNORE_INDEX).sum()",
        f"{NUMBERS}::test_a_batch_without_a_labelled_pixel_changes_no_score_and_gives_no_nan",
    ),
    Guard(
        "batch norm over one value",
        "engine/optimization.py:enough_values",
        'if "more than 1 value per channel" not in str(error):',
        "if True:",
        f"{MESSAGES}::test_batch_norm_over_one_value_is_told_with_the_settings_that_lead_to_it",
    ),
    Guard(
        "pool scales that are not counts",
        "model/layers.py:checked_scales",
        "if not pool_scales or not all(",
        "if False and not all(",
        f"{NUMBERS}::test_pool_scales_that_are_not_counts_are_refused_by_value",
    ),
    Guard(
        "setting that the head does not use",
        "config.py:with_tables",
        "idle := [one for one in changed if head in WITHOUT.get(one, ())]",
        "idle := []",
        f"{NUMBERS}::test_a_setting_that_the_head_does_not_use_is_refused",
    ),
    Guard(
        "operation without a deterministic form",
        "engine/optimization.py:deterministic",
        'torch.set_deterministic_debug_mode("error" if is_asked else before)',
        "pass",
        f"{NUMBERS}::test_an_operation_without_a_deterministic_form_is_refused_with_the_option",
    ),
    Guard(
        "resuming with other data",
        "engine/runs.py:record_options",
        "if before and files and before != files:",
        "if False:",
        f"{MESSAGES}::test_resuming_compares_images_and_labels",
    ),
    Guard(
        "twins in a grid",
        "course/lesson.py:in_normal_form",
        'value = ",".join(str(int(w)) for w in words) if is_list else ",".join(words)',
        "pass",
        f"{CASES}::test_sweep_values_are_brought_to_one_form_before_twins_are_looked_for",
    ),
    Guard(
        "parameter that a job does not have",
        "course/lesson.py:open_job",
        "if cell.startswith(INJECTED):\n            shell.user_ns |= ",
        "if False:\n            shell.user_ns |= ",
        f"{MESSAGES}::test_a_job_refuses_what_papermill_passed_on_in_vain",
    ),
    Guard(
        "answer in several cells",
        "grader/intake.py:open_answers",
        "found.setdefault(question, []).append(text)",
        "found[question] = [text]",
        f"{CASES}::test_an_open_answer_in_two_cells_reaches_the_reader_whole",
    ),
    Guard(
        "cell that only Jupyter runs",
        "grader/worker.py:run_cell",
        "self.compile.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT",
        "self.compile.flags |= 0",
        f"{CASES}::test_an_indented_cell_and_await_at_top_level_run_as_in_jupyter",
    ),
    Guard(
        "untouched notebook beside the work",
        "grader/intake.py:chosen_of",
        "ranked = sorted(((order(path), path) for path in found[:20]), key=lambda one: one[0])",
        "ranked = [((0, False), path) for path in found[:20]]",
        f"{CASES}::test_the_filled_notebook_is_graded_and_the_untouched_one_is_noted",
    ),
    Guard(
        "folder that cannot be written, in a lesson",
        "course/running/execute.py:run",
        "    save_text(output, nbformat.writes(content))\n    note =",
        "    note =",
        "test_notebook_faults.py::test_a_folder_that_cannot_be_written_is_told_before_the_kernel_starts",
    ),
    Guard(
        "death of a kernel",
        "course/running/execute.py:execute",
        "except Exception as error:  # a dead kernel",
        "except ZeroDivisionError as error:  # a dead kernel",
        "test_notebook_faults.py::test_a_dead_kernel_is_told_with_its_cell_and_the_others_end",
    ),
]


def outcome(guard: Guard) -> str:
    """What the test says of a copy without the guard: red, or what went wrong."""
    with TemporaryDirectory(prefix="guards-") as folder:
        copy = Path(folder)
        for name in ("annlib", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for name in OTHERS:
            (copy / name).symlink_to(ROOT / name)
        file = copy / guard.file
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(guard.line, guard.without), encoding="utf-8")
        node, _, options = guard.test.partition(" -")
        words = [f"tests/faults/{node}", *(f"-{options}".split(" ", 1) if options else ())]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *words],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
    if done.returncode == 1:
        return "red"
    return f"NOT RED (pytest: {done.returncode})\n{done.stdout[-2000:]}"


if __name__ == "__main__":
    chosen = [one for one in GUARDS if all(word in str(one) for word in sys.argv[1:])]
    print("| fault | guard | test that turns red without it |\n|---|---|---|")
    with ThreadPoolExecutor(int(os.environ.get("JOBS", "1"))) as pool:
        for guard, said in zip(chosen, pool.map(outcome, chosen), strict=True):
            named = f"`{guard.place}` | `{guard.test}`"
            print(
                f"| {guard.fault} | {named} |" if said == "red" else f"{guard}: {said}", flush=True
            )
