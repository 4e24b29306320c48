"""Faults in the world: what happens, part by part, and the tests that show it."""

from typing import NamedTuple


class Row(NamedTuple):
    """A fault that befalls a part.

    Attributes:
        fault: what the world does.
        part: of tfpriv, to which it does it.
        happens: what happens then.
        tests: that show it: `folder/test_file.py::test`, below `tests/`.
    """

    fault: str
    part: str
    happens: str
    tests: tuple[str, ...]


KILL, FULL, READ_ONLY = "kill -9", "full disk", "read-only folder"
CUT, CLOCK, TWO = "truncated file", "clock jumps", "two processes"
DOWNLOAD, PICTURE = "interrupted download", "corrupt picture"
HOSTILE, DOTS, HUGE = "hostile archive or pickle", "path with `..`", "huge picture"

ROWS = (
    Row(
        KILL,
        "journal",
        "every step that began is counted; the lock is free again",
        ("accounting/test_journal.py::test_kill_9_loses_nothing_and_frees_the_lock",),
    ),
    Row(
        KILL,
        "private training",
        "it goes on from its last epoch; the ledger has each step that was drawn, "
        "those done twice as two",
        ("dp/test_resume.py::test_killed_and_resumed",),
    ),
    Row(
        KILL,
        "private training, between paying and drawing",
        "one event too many, none too few",
        (
            "dp/test_resume.py::"
            "test_between_paying_and_drawing_an_event_counts_too_much_rather_than_too_little",
        ),
    ),
    Row(
        KILL,
        "private masks",
        "the mask that was lost is drawn again, and counted again; the ledger beside "
        "the masks says no less than they spent",
        (
            "inpainting/experiment/test_generation.py::test_a_kill_leaves_what_was_spent_in_the_ledger",
            "inpainting/experiment/test_generation.py::test_the_ledger_beside_masks_never_says_less",
        ),
    ),
    Row(
        KILL,
        "attribute releases",
        "it goes on with the others; the ledger beside them says no less than they "
        "spent, and what was begun twice is counted twice",
        ("editing/test_jobs.py::test_the_ledger_beside_releases_never_says_less",),
    ),
    Row(
        KILL,
        "whatever is written",
        "the old file or folder stands; nothing half-written has a name",
        ("support/test_outputs.py::test_a_kill_leaves_what_was_there",),
    ),
    Row(
        KILL,
        "keys",
        "no half key; what is left is its owner's alone",
        ("shuffling/test_keys.py::test_a_kill_leaves_no_half_key",),
    ),
    Row(
        KILL,
        "protected pictures",
        "those that have their names open; `--overwrite` does the rest",
        ("shuffling/test_jobs.py::test_a_kill_leaves_no_half_picture",),
    ),
    Row(
        KILL,
        "photographs",
        "the same command goes on; results are those of a run without a kill",
        ("inpainting/photos/test_jobs.py::test_killed_and_started_again",),
    ),
    Row(
        KILL,
        "inversion to latents",
        "it goes on from its last state, which is its owner's alone",
        ("editing/test_inversion.py::test_it_goes_on_where_it_was_ended",),
    ),
    Row(
        FULL,
        "journal",
        "`OSError`; a step that cannot be written down does not begin, the others "
        "stay counted",
        (
            "accounting/test_journal.py::test_a_disk_that_fills_up_counts_all_that_began",
            "accounting/test_journal.py::test_a_full_disk_spends_nothing",
            "accounting/test_journal.py::test_a_disk_that_cannot_be_mended_ends_the_journal",
        ),
    ),
    Row(
        FULL,
        "ledger",
        "`OSError`; the old file stands",
        (
            "accounting/test_damage.py::test_a_disk_that_fills_up_leaves_the_old_file",
            "accounting/test_damage.py::test_a_failed_save_leaves_the_old_file",
        ),
    ),
    Row(
        FULL,
        "private training",
        "`OSError`; it goes on later, with every step counted",
        ("dp/test_resume.py::test_a_full_disk_ends_training_with_every_step_counted",),
    ),
    Row(
        FULL,
        "saved and exported models",
        "`OSError`; the old one stands",
        (
            "dp/test_saving.py::test_an_interrupted_save_leaves_the_old_file",
            "dp/test_saving.py::test_a_failing_export_leaves_the_old_one",
            "dp/test_saving.py::test_a_disk_that_fills_up_leaves_the_old_folders",
            "shuffling/test_training.py::test_an_export_onto_a_full_disk_leaves_nothing",
        ),
    ),
    Row(
        FULL,
        "keys",
        "`OSError`; no half key",
        ("shuffling/test_keys.py::test_a_full_disk_leaves_no_half_key",),
    ),
    Row(
        FULL,
        "protected pictures",
        "`OSError`; no half picture",
        (
            "shuffling/test_jobs.py::test_a_disk_that_fills_up_leaves_no_half_picture",
            "shuffling/test_jobs.py::test_a_full_disk_ends_the_run",
        ),
    ),
    Row(
        FULL,
        "attribute releases",
        "`OSError`; no noise is drawn, nothing is released",
        (
            "editing/test_mechanism.py::test_a_full_disk_releases_nothing",
            "editing/test_jobs.py::test_nothing_is_released_that_is_not_on_the_disk",
        ),
    ),
    Row(
        FULL,
        "photographs",
        "`OSError`; with space again the same command goes on",
        (
            "inpainting/photos/test_jobs.py::"
            "test_a_full_disk_ends_the_run_which_goes_on_later",
        ),
    ),
    Row(
        FULL,
        "reports, settings, data sets",
        "`OSError`; the old file stands, no half folder",
        ("support/test_outputs.py::test_a_disk_that_fills_up_leaves_what_was_there",),
    ),
    Row(
        READ_ONLY,
        "journal and ledger",
        "`PermissionError`; nothing is spent, what is there stays as it was",
        (
            "accounting/test_journal.py::test_a_read_only_folder_spends_nothing",
            "accounting/test_damage.py::test_saving_into_a_read_only_folder",
        ),
    ),
    Row(
        READ_ONLY,
        "private training",
        "`PermissionError` before the first batch is drawn",
        ("dp/test_resume.py::test_a_read_only_folder_ends_training_before_it_starts",),
    ),
    Row(
        READ_ONLY,
        "saved models",
        "`PermissionError`; the old one stands",
        ("dp/test_saving.py::test_a_read_only_folder_keeps_the_old_file",),
    ),
    Row(
        READ_ONLY,
        "keys",
        "`PermissionError`; no key is left",
        ("shuffling/test_keys.py::test_a_read_only_folder_gets_no_key",),
    ),
    Row(
        READ_ONLY,
        "protected pictures",
        "`PermissionError`; nothing is left",
        ("shuffling/test_jobs.py::test_a_read_only_folder",),
    ),
    Row(
        READ_ONLY,
        "photographs",
        "as a source it is enough; for results, `PermissionError`",
        (
            "inpainting/photos/test_jobs.py::"
            "test_a_read_only_folder_of_photographs_is_enough_and_of_results_is_not",
        ),
    ),
    Row(
        READ_ONLY,
        "reports, settings, data sets",
        "`PermissionError`; the folder stays as it was",
        ("support/test_outputs.py::test_a_read_only_folder_stays_as_it_was",),
    ),
    Row(
        CUT,
        "ledger",
        "`LedgerError` at every length; a damaged byte too",
        (
            "accounting/test_damage.py::test_truncation_at_every_length",
            "accounting/test_damage.py::test_every_byte_changed",
        ),
    ),
    Row(
        CUT,
        "journal",
        "a last line that was cut off is a step that did not begin; any other damage, "
        "`LedgerError`",
        (
            "accounting/test_journal.py::test_a_torn_last_line_is_ignored_at_every_length",
            "accounting/test_journal.py::test_damage_anywhere_raises_and_changes_nothing",
            "accounting/test_journal.py::test_lines_left_out_doubled_or_exchanged",
        ),
    ),
    Row(
        CUT,
        "backup of a training",
        "`ValueError` that says what to delete; the journal is kept and counts",
        ("dp/test_resume.py::test_damaged_backups_are_clear_errors",),
    ),
    Row(
        CUT,
        "saved models",
        "an error; where only the ledger in it is damaged, epsilon is infinite",
        (
            "support/test_models.py::test_any_damage_is_one_error_or_harmless",
            "dp/test_saving.py::test_a_file_cut_short_is_no_model",
            "dp/test_saving.py::test_a_corrupt_ledger_inside_a_file",
        ),
    ),
    Row(
        CUT,
        "checkpoints of generator and inpainter",
        "`ValueError` that names the file",
        (
            "networks/stylegan/test_training.py::"
            "test_a_checkpoint_of_another_training_is_refused",
            "networks/diffusion/test_training.py::"
            "test_a_checkpoint_of_another_training_is_refused",
        ),
    ),
    Row(
        CUT,
        "keys",
        "`ValueError` that names the file and shows nothing of it",
        ("shuffling/test_keys.py::test_damaged_files",),
    ),
    Row(
        CUT,
        "weights",
        "`ValueError` that names the file",
        (
            "networks/stylegan/test_files.py::test_a_damaged_file_is_one_error",
            "networks/diffusion/test_loading.py::"
            "test_files_that_are_missing_or_damaged_are_named",
        ),
    ),
    Row(
        CUT,
        "latents",
        "left out and named; the others are released",
        ("editing/test_jobs.py::test_latents_that_do_not_fit_are_left_out",),
    ),
    Row(
        CUT,
        "data sets",
        "`ValueError` that names file and line",
        (
            "captioning/test_coco.py::test_malformed_json",
            "faces/test_celeba.py::test_damage_is_named",
            "shuffling/test_data.py::test_a_cut_file_is_refused",
            "shuffling/test_data.py::test_a_damaged_archive_is_named",
            "shuffling/test_datasets.py::test_damaged_data_sets",
        ),
    ),
    Row(
        CLOCK,
        "journal and ledger",
        "counts and epsilon are those of a steady clock; times only say first and last",
        (
            "accounting/test_journal.py::"
            "test_a_clock_that_jumps_or_stands_changes_no_count",
            "accounting/test_damage.py::test_a_clock_that_jumps_changes_no_count",
        ),
    ),
    Row(
        TWO,
        "one journal",
        "`LedgerError` for the second, while the first is there; in turns, both are "
        "counted",
        (
            "accounting/test_journal.py::test_one_writer_at_a_time",
            "accounting/test_journal.py::"
            "test_two_processes_that_take_turns_are_both_counted",
        ),
    ),
    Row(
        TWO,
        "one ledger file",
        "a whole file, of the last to save: it is a copy; what is spent together goes "
        "through a journal",
        ("accounting/test_damage.py::test_two_that_save_at_once_leave_one_whole_file",),
    ),
    Row(
        TWO,
        "one backup of a training",
        "`LedgerError` for the second",
        ("dp/test_resume.py::test_two_runs_on_one_backup_folder",),
    ),
    Row(
        TWO,
        "one folder of photographs",
        "each does its share; together, what one alone would have done",
        (
            "inpainting/photos/test_jobs.py::"
            "test_no_order_company_or_share_changes_a_result",
        ),
    ),
    Row(
        DOWNLOAD,
        "published weights",
        "what came is deleted, the next mirror is asked; what a kill left is fetched "
        "again",
        (
            "networks/pretrained/test_pretrained.py::test_an_interrupted_download_is_not_kept",
            "networks/pretrained/test_pretrained.py::"
            "test_what_a_kill_left_of_a_download_is_fetched_again",
            "networks/pretrained/test_pretrained.py::"
            "test_another_file_is_refused_and_not_kept_as_good",
        ),
    ),
    Row(
        PICTURE,
        "every picture that is read",
        "`ValueError` that names the file",
        (
            "captioning/test_images.py::test_a_jpeg_cut_in_half_names_the_file",
            "captioning/test_images.py::test_what_is_no_picture_names_the_file",
        ),
    ),
    Row(
        PICTURE,
        "captioning",
        "an error before training starts and anything is spent",
        (
            "captioning/test_cli.py::"
            "test_a_damaged_picture_stops_training_before_it_starts",
        ),
    ),
    Row(
        PICTURE,
        "protected pictures",
        "left out and named, the rest done; each damaged byte is noticed or harmless",
        (
            "shuffling/test_jobs.py::test_what_is_broken_is_named_and_the_rest_done",
            "shuffling/test_codec.py::test_every_damaged_byte_is_noticed_or_harmless",
        ),
    ),
    Row(
        PICTURE,
        "photographs",
        "left out and listed, the rest done",
        (
            "inpainting/photos/test_jobs.py::test_bad_photographs_are_left_out_and_listed",
        ),
    ),
    Row(
        PICTURE,
        "faces masked and repainted",
        "left out and named, the rest done",
        (
            "inpainting/experiment/test_generation.py::test_bad_pictures_are_named_and_left_out",
        ),
    ),
    Row(
        HOSTILE,
        "pickles of weights",
        "`ValueError`; nothing is executed",
        (
            "support/test_weights.py::test_everything_else_is_refused",
            "support/test_weights.py::test_a_file_cannot_spoil_the_next_one",
            "networks/stylegan/test_files.py::test_code_in_a_pickle_is_refused_and_not_run",
        ),
    ),
    Row(
        HOSTILE,
        "PyTorch's archives",
        "`ValueError`: compressed members, views beyond their storage, huge shapes",
        (
            "support/test_weights.py::test_compressed_storages_are_refused",
            "support/test_weights.py::test_views_outside_of_a_storage_are_refused",
            "support/test_weights.py::test_any_damage_is_a_value_error_or_harmless",
        ),
    ),
    Row(
        HOSTILE,
        "NumPy's archives",
        "`ValueError`: Python objects, shapes beyond the memory",
        (
            "support/test_files.py::test_objects_in_arrays_are_never_read",
            "support/test_files.py::test_hostile_arrays_are_one_error",
        ),
    ),
    Row(
        HOSTILE,
        "Keras models",
        "`ValueError`; Python code in it is not run",
        ("support/test_models.py::test_code_in_a_model_is_refused_and_not_run",),
    ),
    Row(
        HOSTILE,
        "ledger",
        "`LedgerError`: nonsense with a right checksum too",
        (
            "accounting/test_damage.py::test_a_checksum_does_not_make_nonsense_right",
            "accounting/test_damage.py::test_foreign_bytes",
        ),
    ),
    Row(
        DOTS,
        "data sets of captions and faces",
        "`ValueError`: a picture has a plain name",
        (
            "captioning/test_coco.py::test_damage_is_named",
            "faces/test_celeba.py::test_damage_is_named",
        ),
    ),
    Row(
        DOTS,
        "weights in several files",
        "`ValueError`: they lie in their folder",
        ("networks/diffusion/test_loading.py::test_wrong_indices",),
    ),
    Row(
        DOTS,
        "results of experiments",
        "`ValueError`: ids with a `/` name no file",
        (
            "inpainting/experiment/test_outputs.py::test_ids_that_cannot_stand_in_a_name",
        ),
    ),
    Row(
        HUGE,
        "every picture that is read",
        "`ValueError` before it is decoded: at most 80 million pixels",
        (
            "captioning/test_images.py::"
            "test_a_decompression_bomb_is_refused_before_it_is_decoded",
            "shuffling/test_data.py::test_a_huge_picture_in_an_archive_is_refused",
        ),
    ),
    Row(
        HUGE,
        "photographs",
        "refused by name, the rest done",
        ("inpainting/photos/test_files.py::test_refused_by_name",),
    ),
)
