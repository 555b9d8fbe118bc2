"""Images in folders, laid out as `edgekd.data.class_folders` says."""

from edgekd.data.class_folders import FileType, read_class_folders
from edgekd.data.image import SUFFIXES, look_at, open_image
from edgekd.data.source import Source

IMAGES = FileType("images", SUFFIXES, open_image, look_at)


def read_image_folder(source: str) -> Source:
    """List a folder's images and their classes; nothing is decoded. Raises BadInput as `read_class_folders`."""
    return read_class_folders(source, "image folder", IMAGES)
