"""What went wrong elsewhere, and which test shows that it does not here: every row has one, and every one exists.

The numbers are of issues; where no other project is said, of element-hq/synapse or its older place.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
VECTOR_TESTS = ["test_vectors.py::test_what_goes_in_comes_out", "test_vectors.py::test_thumbnail"]

ROWS = {
    "synapse#4780, WebKit#19687: no ranges": [
        "test_http.py::test_part",
        "test_http.py::test_no_part_of_it",
        "test_http.py::test_what_is_no_range_gets_everything",
        "test_http.py::test_conditions",
        "test_control.py::test_move_to_a_bucket_and_back",
        "test_browser.py::test_video_plays_and_seeks",
    ],
    "synapse#15680, #15885, #15988: everything inline, or nothing": [
        "test_http.py::test_types",
        "test_http.py::test_headers",
        "test_vectors.py::test_what_goes_in_comes_out",
    ],
    "matrix-spec#841: a bare file name": ["test_http.py::test_names"],
    "synapse#5114, #5322: no Content-Length": ["test_uploads.py::test_chunked", "test_uploads.py::test_nothing_at_all"],
    "synapse#20022, #19212: too large without an answer": [
        "test_uploads.py::test_bounds",
        "test_uploads.py::test_lying_length",
    ],
    "synapse#1610: judged after all was read": ["test_faults.py::test_an_endless_body_is_stopped"],
    "synapse#10721, #5311: one pixel wide": ["test_faults.py::test_odd_sizes"],
    "synapse#17245: an empty thumbnail": ["test_uploads.py::test_what_thumbnailers_choke_on_is_taken"],
    "dendrite#1765: videos and archives": ["test_uploads.py::test_what_thumbnailers_choke_on_is_taken"],
    "synapse#464, #475, #7124: cropped and scaled mixed up": [
        "test_http.py::test_both_methods_of_one_size_are_kept_apart",
        "test_faults.py::test_thumbnails_may_be_deleted_at_any_time",
        "test_vectors.py::test_thumbnail",
    ],
    "synapse#11899, #18831: still animations": ["test_vectors.py::test_animation"],
    "synapse#17736, #9473, #5039: modes and orientations": [
        "test_faults.py::test_every_mode_and_orientation",
        "test_vectors.py::test_thumbnail",
    ],
    "s3-provider#159: a missing object hangs": [
        "test_http.py::test_lost_content_is_not_found",
        "test_stores.py::test_keeps_what_it_got",
    ],
    "s3-provider#78: no recovery": [
        "test_stores.py::test_what_stays_is_an_error_in_bounded_time",
        "test_faults.py::test_silence_ends_in_bounded_time_and_is_forgotten",
        "test_faults.py::test_connections_are_cut_all_the_time",
    ],
    "s3-provider#158: an empty folder after a restart": ["test_faults.py::test_thumbnails_may_be_deleted_at_any_time"],
    "s3-provider#51: a client shared by threads": ["test_stores.py::test_many_at_once"],
    "synapse#5411, #10862: caches in the bucket": [
        "test_faults.py::test_thumbnails_may_be_deleted_at_any_time",
        "test_control.py::test_thumbnails_age",
    ],
    "synapse#16475, #16988, #16989: half deleted": [
        "test_control.py::test_usage_and_deletion",
        "test_control.py::test_check_finds_what_is_wrong",
    ],
    "synapse#6832, #3479: avatars aged away": [
        "test_control.py::test_what_is_in_use_stays",
        "test_control.py::test_ageing",
    ],
    "matrix-media-repo#123: equal bytes at once": ["test_uploads.py::test_equal_bytes_at_once"],
    "synapse#5298, #12950: a preview's picture fails": [
        "test_previews.py::test_the_text_does_not_wait_for_ever",
        "test_previews.py::test_the_text_stands_without_its_picture",
    ],
    "element-web#1731, synapse#1430: large pictures, huge texts": [
        "test_bombs.py::test_many_large_ones_at_once",
        "test_previews.py::test_the_text_stands_without_its_picture",
        "test_previews.py::test_what_never_ends_is_cut",
        "test_pages.py::test_values_are_cut",
        "test_previews.py::test_what_is_not_fetched",
    ],
    "synapse#14708, #11767: entities and data: pictures": [
        "test_pages.py::test_page",
        "test_pages.py::test_only_web_addresses",
        "test_previews.py::test_what_is_not_fetched",
    ],
    "synapse#17473, #18843, #17663: paths and the freeze": [
        "test_http.py::test_who_may_read",
        "test_http.py::test_old_media_by_old_paths",
    ],
    "tests/vectors/media, every file": [*VECTOR_TESTS, "test_metadata.py::test_real_pictures_look_the_same"],
    "tests/vectors/previews, every file": ["test_pages.py::test_page", "test_previews.py::test_vectors_are_served"],
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_tests(row: str) -> None:
    assert ROWS[row]
    for named in ROWS[row]:
        file, _, function = named.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (HERE / file).read_text(), re.MULTILINE), named
