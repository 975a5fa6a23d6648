"""Pictures of videos, and what they are, by ffmpeg: it sees one file, few formats, and limits as the workers do.

It is this script that is started: it takes its limits, then becomes ffmpeg. The functions above build what it is given.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

# What ffmpeg may take for a container or decode: what browsers play, and nothing that leads to other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg"
_CODECS = (
    "h264,hevc,vp8,vp9,libvpx,libvpx-vp9,av1,libdav1d,mpeg4,theora,"
    "aac,mp3,mp3float,opus,libopus,vorbis,libvorbis,flac,ac3,eac3,alac,pcm_s16le,pcm_s16be"  # it looks at sound, too
)
_MOST_FILES = 64
_LONGEST_SIDE = 1600


def input_options() -> list[str]:
    """What every run is told of the file it reads."""
    return [
        *("-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file"),
        *("-format_whitelist", _FORMATS, "-codec_whitelist", _CODECS),
    ]


def probe(program: str, source: Path) -> list[str]:
    """The command that tells of a video as JSON."""
    entries = "stream=width,height,duration:stream_side_data=rotation:stream_tags=rotate:format=duration"
    select = ["-select_streams", "v:0", "-show_entries", entries, "-of", "json"]
    return [program, *input_options(), *select, f"file:{source}"]


def frame(program: str, source: Path, at_s: float) -> list[str]:
    """The command that writes one picture, upright and no larger than thumbnails are, as PNG to standard output."""
    fitted = f"scale=w='min({_LONGEST_SIDE},iw)':h='min({_LONGEST_SIDE},ih)':force_original_aspect_ratio=decrease"
    out = ["-map", "0:v:0", "-frames:v", "1", "-vf", fitted, "-f", "image2pipe", "-c:v", "png", "pipe:1"]
    return [
        *(program, "-nostdin", *input_options(), "-threads", "1", "-ss", f"{at_s:.3f}", "-i", f"file:{source}"),
        *("-an", "-sn", "-dn", "-filter_threads", "1", *out),
    ]


def confined(limits: dict[str, int], command: Sequence[str]) -> list[str]:
    """The command that runs another one within limits: `memory` in bytes, `seconds` of CPU time."""
    return [sys.executable, "-I", __file__, json.dumps(limits), *command]


def main() -> None:
    """Take the limits, and become the program."""
    limits = json.loads(sys.argv[1])
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"],) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command is ours


if __name__ == "__main__":
    main()
