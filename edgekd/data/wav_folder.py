"""WAV files in folders, laid out as `edgekd.data.class_folders` says."""

from edgekd.data.class_folders import FileType, read_class_folders
from edgekd.data.source import Source
from edgekd.data.wav import SUFFIXES, look_at_wav, open_wav

SOUNDS = FileType("WAV files", SUFFIXES, open_wav, look_at_wav)


def read_wav_folder(source: str) -> Source:
    """List a folder's WAV files and their classes; nothing is decoded. Raises BadInput as `read_class_folders`."""
    return read_class_folders(source, "wav folder", SOUNDS)
