"""What kind of file something is, by its first bytes: of a format that is read, of another known kind, or of none."""

from __future__ import annotations

import re

START_BYTES = 1 << 12
"""So many bytes of a file's beginning are enough for the functions of this module."""

_READ = (
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF[\0-\xff]{4}WEBP")),
    ("TIFF", re.compile(rb"II(\*\0|\0\*|\+\0)|MM(\0\*|\*\0|\0\+)")),
    ("BMP", re.compile(rb"(BA.{12})?BM.{12}.[\0-\x04]\0\0", re.DOTALL)),
    ("PPM", re.compile(rb"P[1-7fF][\s#]")),
)
"""Pillow's names of the formats that are read, and how their files begin."""

_OTHERS = (
    (rb"\xbb\xc1", "a .bbc file"),
    (rb"....ftyp(avif|avis)", "an AVIF image"),
    (rb"....ftyp(hei[a-z]|hev[a-z]|mif1|msf1)", "an HEIF image (HEIC)"),
    (rb"....ftyp(crx )", "a raw photograph of Canon (CR3)"),
    (rb"....ftyp", "a video or another file in MP4's container"),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"\xff\xd8", "a JPEG that is cut short or damaged"),
    (rb"\x89PNG|\x89P", "a PNG that is cut short or damaged"),
    (rb"\x8aMNG\r\n\x1a\n", "an MNG animation"),
    (rb"\x8bJNG\r\n\x1a\n", "a JNG image"),
    (rb"II\xbc", "a JPEG XR image"),
    (rb"IIU\0|IIR[OS]|FUJIFILMCCD-RAW", "a camera's raw photograph"),
    (rb"8BPS", "a Photoshop document (PSD)"),
    (rb"gimp xcf", "a GIMP document (XCF)"),
    (rb"\0\0\x01\0[^\0]\0", "an icon (ICO)"),
    (rb"\0\0\x02\0[^\0]\0", "a cursor (CUR)"),
    (rb"icns", "an Apple icon (ICNS)"),
    (rb"DDS ", "a DDS texture"),
    (rb"\xabKTX", "a KTX texture"),
    (rb"qoif", "a QOI image"),
    (rb"farbfeld", "a farbfeld image"),
    (rb"FLIF", "a FLIF image"),
    (rb"BPG\xfb", "a BPG image"),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image"),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR image"),
    (rb"SIMPLE  =", "a FITS image"),
    (rb".{128}DICM", "a DICOM file"),
    (rb"\x01\xda[\0\x01][\x01\x02]", "an SGI image"),
    (rb"\x59\xa6\x6a\x95", "a Sun raster image"),
    (rb"\x0a[\0-\x05][\0\x01][\x01\x02\x04\x08]", "a PCX image"),
    (rb"/\* XPM \*/", "an XPM image"),
    (rb"#define \S+_width ", "an XBM image"),
    (rb"FORM....(ILBM|PBM )", "an ILBM image"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile"),
    (rb"%PDF-", "a PDF document"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document"),
    (rb"\s*(<\?xml.*)?<svg|\s*<\?xml.*<svg", "an SVG drawing"),
    (rb"PK\x03\x04|7z\xbc\xaf|Rar!|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "a compressed file"),
)
"""How files of other kinds begin."""


def format_of(data: bytes) -> str | None:
    """Pillow's name of the format that a file has, by its first bytes; None for what is not read."""
    return next((name for name, start in _READ if start.match(data)), None)


def why_not(data: bytes) -> str:
    """Of a file that is not read: what it is, as a part of a sentence that begins with the file's name."""
    kind = next((kind for start, kind in _OTHERS if re.match(start, data[:START_BYTES], re.DOTALL)), None)
    return f"is {kind}, which is not supported" if kind else "is not an image of a known format"
