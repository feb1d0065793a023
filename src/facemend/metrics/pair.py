"""What every metric asks of the two pictures that it compares."""

from facemend.images import Image, Mask


def check_pair(image: Image, truth: Image) -> None:
    """Makes sure that both are uint8 (H, W, 3) of one size, so that no range or shape can flatter.

    Raises:
        ValueError: they are not.
    """
    for picture in (image, truth):
        if picture.dtype != "uint8" or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a metric takes uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    if image.shape != truth.shape:
        raise ValueError(f"a picture of {image.shape} cannot be compared with one of {truth.shape}")


def check_region(region: Mask, truth: Image) -> None:
    """Makes sure that a region is bool (H, W) of the picture's size.

    Raises:
        ValueError: it is not.
    """
    if region.dtype != "bool" or region.shape != truth.shape[:2]:
        raise ValueError(f"a region is bool {truth.shape[:2]}, not {region.dtype} {region.shape}")
