"""One picture in the kinds of JPEG that pydicom reads but cannot write, for tests of readers.

Written with dcmtk's dcmcjpeg (lossless) and GDCM (lossy, quality 95) from ``picture``, base-85.
"""

import base64

import numpy as np
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1


def picture() -> np.ndarray:
    """HU of the picture, 24 x 20: a ramp from -1000 to 855."""
    row, column = np.mgrid[:24, :20]
    return row * 60 + column * 25 - 1000


def stream(name: str) -> bytes:
    """The JPEG stream of one name in ``STREAMS``."""
    return base64.b85decode(STREAMS[name].replace("\n", ""))


SYNTAXES = {
    "lossless, unsigned 12 bits": JPEGLossless,
    "lossless SV1, unsigned 12 bits": JPEGLosslessSV1,
    "lossless SV1, signed 16 bits": JPEGLosslessSV1,
    "lossy, unsigned 12 bits": JPEGExtended12Bit,
}
"""Unsigned: stored are HU + 1024; signed: HU."""

STREAMS = {
    "lossless, unsigned 12 bits": """
|JeWF01!$>Nk#wx0RR9200961|HA+a5C9ke6afJd0RO}Q761VO0RR910000000000000FB5C7T#2mt{A1^@uS1=(emS!I@4WtLfGmRV(+$DVoT
o_Xh<dFP&a=bn1;=bm}zo_Xh<dFP&a=bpTI=bm}zo_Xh<dFP&a=dT`l=bm}zo_Xh<dFP&a>&KpX=bm}zo_Xh<dFP&b@#mg-=bm}zo_Xh<dFP(I
dFP&a=bm}zo_Xh<dFQVldFP&a=bm}zo_Xh<dF#iXdFP&a=bm}zo_Xh<dhzF;dFP&a=bm}zo_Xh<ym{xIdFP&a=bm}zo_Xi59(m`UdFP&a=bm}z
o_XuXo_Xh<dFP&a=bm}zo_g`;o_Xh<dFP&a=bm}zp1gVIo_Xh<dFP&a=bm}zuO4~lo_Xh<dFP&a=bm}%$DVoTo_Xh<dFP&a=bn1;=bm}zo_Xh<
dFP&a=bpTI=bm}zo_Xh<dFP&a=dT`l=bm}zo_Xh<dFP&a>&KpX=bm}zo_Xh<dFP&b@#mg-=bm}zo_Xh<dFP(IdFP&a=bm}zo_Xh<dFQ|X|Je
""",
    "lossless SV1, unsigned 12 bits": """
|JeWF01!$>Nk#wx0RR9200961|HA+a5C9ke6afJd0RO}Q761VO0RR910000000000000FB5C7T#2mt{A0RRBN1=(emS!I@4WtLfGmRV(+##v>S
S!I@4WtLfGmRV-;mRV(%S!I@4WtLfGmRY=ImRV(%S!I@4WtLfGmTwtlmRV(%S!I@4WtLfGo5opXmRV(%S!I@4WtLfH@s?R-mRV(%S!I@4WtLgI
WtLfGmRV(%S!I@4WtMLlWtLfGmRV(%S!I@4Wt+xXWtLfGmRV(%S!I@4X7QF;WtLfGmRV(%S!I@4yk(YIWtLfGmRV(%S!I@Q8D*APWtLfGmRV(%
S!J8XS!I@4WtLfGmRV(%S!VH;S!I@4WtLfGmRV(%S-fSIS!I@4WtLfGmRV(%Zy9BlS!I@4WtLfGmRV(+##v>SS!I@4WtLfGmRV-;mRV(%S!I@4
WtLfGmRY=ImRV(%S!I@4WtLfGmTwtlmRV(%S!I@4WtLfGo5opXmRV(%S!I@4WtLfH@s?R-mRV(%S!I@4WtLgIWtLfGmRV(%S!I@4WtM;c|Je
""",
    "lossless SV1, signed 16 bits": """
|JeWF01!$>Nk#wx0RR9200961|HA+a5C9ke6afJd0RO}Q761VO0RR910000000000000FB5C7T#2mt{A0RRBs1{r0RS!I@4WtLfGmRV(+##v>S
S!I@4WtLfGmRV-;mRV(%S!I@4WtLfGmRY=ImRV(%S!I@4WtLfGmTwtlmRV(%S!I@4WtLfGo5opXmRV(%S!I@4WtLfH@s?R-mRV(%S!I@4WtLgI
WtLfGmRV(%S!I@4WtMLlWtLfGmRV(%S!I@4Wt+xXWtLfGmRV(%S!I@4X7QF;WtLfGmRV(%S!I@4yk(YIWtLfGmRV(%S!I@Q8D*APWtLfGmRV(%
S!J8XS!I@4WtLfGmRV(%S!VH;S!I@4WtLfGmRV(%S-fSIS!I@4WtLfGmRV(%Zy9BlS!I@4WtLfGmRV(+##v>SS!I@4WtLfGmRV-;mRV(%S!I@4
WtLfGmRY=ImRV(%S!I@4WtLfGmTwtlmRV(%S!I@4WtLfGo5opXmRV(%S!I@4WtLfH@s?R-mRV(%S!I@4WtLgIWtLfGmRV(%S!I@4WtM;c|Je
""",
    "lossy, unsigned 12 bits": """
|JeWA07C!*0RaI40RjO50RjR70s;gB0s;a81q1{G1O^2L1_lKN1_lQS2nGiU2L=WR3kV4c3JMAe1_%ob3knPg3JMDU!2k;o02lxi0Ra&J|HJ?m
009930000000000000000162U|HJ?x5C8xK1qA>A0000000000000XoMF}-iVQ~Tl2vK7H+5iXv0RR9$0Mr@=<=sip+HKgdWDqwl>Q08!ZpDJ5
;z4&ve%6Ne-RDh(y@9!RQgk+(b}ShL4a>Tdp|snvV5s<zUD6-5p}n_x(_wF5Ze7%!4W`|T20;UI?xg5#Htbj`J|q`(hwW%@ZQgX)fB)G4
""",
}
