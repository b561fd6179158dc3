"""What kind of file something is, by its first bytes: of a format that is read, of another known kind, or of none."""

from __future__ import annotations

import re

from bbcompress.images.formats.registry import ImageFormat, image_formats

START_BYTES = 1 << 12
"""So many bytes of a file's beginning are enough for the functions of this module."""

_BBC = "a .bbc file"

_OTHERS = tuple(
    (re.compile(start, re.DOTALL), kind)
    for start, kind in (
        (rb"\xbb\xc1", _BBC),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (rb"\0\0\0\x0cJXS \r\n\x87\n|\xff\x10\xff\x50", "a JPEG XS image"),
        (rb"\xff\xd8", "a JPEG that is cut short or damaged"),
        (rb"\x89PNG|\x89P", "a PNG that is cut short or damaged"),
        (rb"GIF8", "a GIF that is cut short, damaged or of an unknown version"),
        (rb"\x8aMNG\r\n\x1a\n", "an MNG animation"),
        (rb"\x8bJNG\r\n\x1a\n", "a JNG image"),
        (rb"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
        (rb"II\xbc", "a JPEG XR image"),
        (
            rb"IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM|II.{4}HEAPCCDR|ARRI\x12\x34|.{4}RED[12]|qkt[kn]",
            "a camera's raw photograph",
        ),
        (rb"8BPS", "a Photoshop document (PSD)"),
        (rb"gimp xcf", "a GIMP document (XCF)"),
        (rb"PDN3", "a Paint.NET document"),
        (rb"\0\0\x01\0(?!\0\0).{5}[\0\xff]", "an icon (ICO)"),
        (rb"\0\0\x02\0(?!\0\0).{5}[\0\xff]", "a cursor (CUR)"),
        (rb"(CI|CP|IC|PT).{12}[\x0c\x10\x28\x40]\0\0\0", "an icon or a pointer of OS/2"),
        (rb"icns", "an Apple icon (ICNS)"),
        (rb"DDS ", "a DDS texture"),
        (rb"\xabKTX", "a KTX texture"),
        (rb"PVR\x03|\x13\xab\xa1\x5c|VTF\0|FTEX|BLP[012]|sB\x13\0", "a texture (PVR, ASTC, VTF, FTEX, BLP or Basis)"),
        (rb"qoif", "a QOI image"),
        (rb"farbfeld", "a farbfeld image"),
        (rb"FLIF", "a FLIF image"),
        (rb"BPG\xfb", "a BPG image"),
        (rb"\x76\x2f\x31\x01", "an OpenEXR image"),
        (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR image"),
        (rb"SIMPLE  =", "a FITS image"),
        (rb".{128}DICM", "a DICOM file"),
        (rb".{344}(n\+1|ni1)\0|NRRD000", "a medical image (NIfTI or NRRD)"),
        (
            rb"\x89HDF\r\n\x1a\n|CDF[\x01\x02\x05]|GRIB|BUFR|\x93NUMPY|MATLAB 5\.0|LBLSIZE=|PDS_VERSION_ID",
            "scientific data (HDF5, NetCDF, GRIB, BUFR, NumPy, MATLAB, VICAR or PDS)",
        ),
        (rb"\x01\xda[\0\x01][\x01\x02]", "an SGI image"),
        (rb"\x59\xa6\x6a\x95", "a Sun raster image"),
        (rb"\x0a[\0-\x05][\0\x01][\x01\x02\x04\x08]|\xb1\x68\xde\x3a", "a PCX image"),
        (rb"P[hH]\s", "a PHM, whose samples are floating-point numbers"),
        (rb"PF4\s", "a PFM, whose samples are floating-point numbers"),
        (rb"/\* XPM \*/|! XPM2", "an XPM image"),
        (rb"\s*(/\*.{0,2000}?\*/)?\s*#define\s+\S+_width\s", "an XBM image"),
        (rb"FORM....(ILBM|PBM |ACBM|RGB8|RGBN|DEEP)", "an ILBM image"),
        (rb"DanM|LinS", "an image of Microsoft Paint (MSP)"),
        (rb"Image type: ", "an IM image"),
        (rb".{4}[\x11\x12\x30]\xaf.{6}\x08\0", "an FLI or FLC animation"),
        (rb"\x80\xe8\0\0", "a PIXAR image"),
        (rb"\0{522}\0\x11\x02\xff", "a picture of QuickDraw (PICT)"),
        (rb"AT&TFORM", "a DjVu document"),
        (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|[\x01\x02]\0\x09\0\0[\x01\x03]", "a Windows metafile"),
        (rb"[\x28\x38\x6c\x7c]\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", "a DIB (a BMP without its file header)"),
        (rb"RIFF....ACON", "an animated cursor (ANI)"),
        (rb"RIF[FX]....(CDR|cdr)", "a CorelDRAW drawing"),
        (rb"RIFF....WAVE|fLaC|ID3|\xff[\xfa\xfb\xf2\xf3]", "a sound file"),
        (rb"RIFF....AVI |....(moov|mdat|wide|pnot)|\x1a\x45\xdf\xa3|\0\0\x01[\xb3\xba]|FLV\x01", "a video"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11|YUV4MPEG2|DKIF|\.RMF|G.{187}G.{187}G", "a video"),
        (rb"OggS", "a video or a sound file (Ogg)"),
        (rb"[FCZ]WS[\x01-\x40]", "a Flash animation"),
        (rb"%PDF-", "a PDF document"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document"),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Microsoft Office or another compound file"),
        (
            rb"PK(\x03\x04|\x05\x06)|7z\xbc\xaf|Rar!|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|.{257}ustar",
            "a compressed file or an archive",
        ),
        # TGA has no signature. Kind, colour map, size and depth have to fit each other.
        (rb".\0[\x02\x0a]\0{5}.{4}(?!\0\0)..(?!\0\0)..[\x0f\x10\x18\x20][\0-\x3f]", "a TGA image"),
        (rb".\0[\x03\x0b]\0{5}.{4}(?!\0\0)..(?!\0\0)..[\x01\x08\x10][\0-\x3f]", "a TGA image"),
        (
            rb".\x01[\x01\x09]....[\x0f\x10\x18\x20].{4}(?!\0\0)..(?!\0\0)..[\x08\x10][\0-\x3f]",
            "a TGA image",
        ),
    )
)
"""How files of other kinds begin."""

_BRANDS = (
    (re.compile(rb"avi[fs]"), "an AVIF image"),
    (re.compile(rb"he[iv][a-z]"), "an HEIF image (HEIC)"),
    (re.compile(rb"mi[afh]f|mif[123]|msf1"), "an HEIF image"),
    (re.compile(rb"crx "), "a raw photograph of Canon (CR3)"),
    (re.compile(rb"jp[2hmx] "), "a JPEG 2000 image"),
    (re.compile(rb"jxl "), "a JPEG XL image"),
    (re.compile(rb"jxs "), "a JPEG XS image"),
)
"""Brands of files in the container of MP4. The first kind in this order counts of which a file has a brand."""

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_MARKUP = (
    (re.compile(r"<([\w.-]+:)?svg[\s>/]|<!DOCTYPE\s+svg", re.IGNORECASE), "an SVG drawing"),
    (re.compile(r"<html[\s>]|<!DOCTYPE\s+html", re.IGNORECASE), "an HTML page"),
)
_PROLOGUE = re.compile(r"\s+|<!--.*?(-->|\Z)|<\?.*?(\?>|\Z)|<!DOCTYPE\s[^\[>]*(\[.*?\]\s*)?>", re.DOTALL)
"""What may stand before the first element of XML, one thing at a time."""


def format_of(data: bytes) -> ImageFormat | None:
    """The format that a file has by its first bytes; None for what is not read."""
    return next((form for form in image_formats() if re.match(form.magic, data[:START_BYTES], re.DOTALL)), None)


def why_not(data: bytes) -> str:
    """Of a file that is not read: what it is, as a part of a sentence that begins with the file's name."""
    data = data[:START_BYTES]
    kind = _kind_of_container(data) or next((kind for start, kind in _OTHERS if start.match(data)), _kind_of_text(data))
    if kind == _BBC:
        return f"is {kind} already, not an image; bbc decompress brings back its images"
    return f"is {kind}, which is not supported" if kind else "is not an image of a known format"


def _kind_of_container(data: bytes) -> str | None:
    """What a file in the container of MP4 is, by its brands; None for other files."""
    if data[4:8] != b"ftyp":
        return None
    size = int.from_bytes(data[:4], "big")
    brands = [data[8:12], *(data[place : place + 4] for place in range(16, min(size, len(data)), 4))]
    kinds = (kind for start, kind in _BRANDS if any(map(start.match, brands)))
    return next(kinds, "a video or another file in the container of MP4")


def _kind_of_text(data: bytes) -> str | None:
    """What XML or HTML is, by its first element, comments and the like before it; None for other files."""
    mark, encoding = next((pair for pair in _BYTE_ORDER_MARKS if data.startswith(pair[0])), (b"", "latin-1"))
    text = data[len(mark) :].decode(encoding, "replace")
    place = 0
    while True:
        for start, kind in _MARKUP:
            if start.match(text, place):
                return kind
        passed = _PROLOGUE.match(text, place)
        if passed is None:
            return "an XML file" if text.lstrip().startswith("<?xml") else None
        place = passed.end()
