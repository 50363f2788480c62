"""The colours of pictures of sound, for eyes and for vision models alike."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray

Pixels = npt.NDArray[np.uint8]

# "magma" by Nathaniel Smith and Stefan van der Walt, released under CC0: 256 times red, green and
# blue, in millionths of full brightness, as numbers of three bytes
_MAGMA = (
    "AAW2AAHSADYqAAjSAAUPAEebAAzPAAkBAFycABGgAA2iAHUNABc+ABLrAJEKAB2kABjUAK+tACTSAB9WAM5sACzJACZkAO"
    "1OADWMAC37AQw7AD8cADYQASs7AEl/AD6aAUpoAFS8AEeQAWnCAGDYAFDrAYlEAG3bAFqhAajzAHvQAGSlAcjlAIrAAG7t"
    "AekZAJq4AHlyAgmLAKs2AIQmAio+ALu+AI7/Aks3AMxgAJnvAmx5AN0nAKSwAo4WAO4VAK76ArABAP8yALjWAtI8ARCEAM"
    "I+AvTHASIRAMsxAxekATPfANOoAzrTAUX2ANuhA15TAVhbAOMVA4IiAWsVAOoAA6Y8AX4pAPBbA8qdAZGfAPYiA+8+AaV7"
    "APtPBBQZAbnGAP/UBDkwAc6FAQOvBF5xAeO5AQbfBIPHAflkAQlfBKkjAg+NAQsnBM54AiY6AQwuBPO6Aj1hAQyCBRi7Al"
    "UHAQwdBT1sAm0qAQsCBWGwAoW8AQlHBYVYAp7BAQbpBahTArgkAQQQBcppAtHhAQDEBeuFAuvkAP0yBgt4AwYhAPl2Biop"
    "AyCHAPW7Bkd6AzsGAPIoBmNXA1WQAO7mBn2wA3AWAOwdBpZ+A4qNAOnxBq2/A6TqAOh9BsN4A78nAOfYBte0A9k8AOgXBu"
    "qAA/MpAOk6BvvuBAznAOtNBwwQBCZ6AO5CBxr8BD/dAPIaByjGBFkXAPbABzWDBHImAPwpB0FGBIsMAQJFB0wjBKPRAQj7"
    "B1YsBLxuARBGB19yBNTuARgKB2gEBO1TASA2B2/wBQWaASjEB3dHBR3MATGcB34QBTXqATq0B4RXBU30AUQCB4opBWXtAU"
    "19B4+NBX3aAVcXB5SKBZW8AWDKB5koBa2UAWqQB51tBcVjAXRkB6FjBd0rAX4/B6UKBfTwAYgbB6hoBgyzAZH2B6uCBiR0"
    "AZvMB65aBjw1AaWaB7D0BlP1Aa9fB7NWBmu3AbkYB7V/BoN9AcLDB7dyBptHAcxfB7kwBrMWAdXqB7q7BsrrAd9kB7wVBu"
    "LHAejMB70+BvqqAfIiB744BxKUAftlB78EByqIAgSVB7+hB0KEAg2xB8ARB1qJAha7B8BVB3KYAh+yB8BrB4qyAiiWB8BU"
    "B6LWAjFnB8AQB7sFAjomB7+eB9M/AkLTB78AB+uFAktvB74zCAPWAlP5B704CBwzAlxzB7wPCDSbAmTeB7q3CE0PAm05B7"
    "kvCGWPAnWGB7d3CH4bAn3FB7WOCJayAoX4B7N0CK9UAo4eB7EpCMgCApY6B66qCOC7Ap5MB6v5CPl+AqZUB6kTCRJMAq5V"
    "B6X5CSskArZPB6KqCUQGAr5DB58kCVzxAsYzB5toCXXlAs4gB5d0CY7hAtYLB5NICaflAt31B47kCcDwAuXhB4pGCdoBAu"
    "3QB4VuCfMYAvXCB4BbCgwzAv27B3sNCiVTAwW7B3WECj51Aw3FB2++CleaAxXbB2m7CnDAAx3+B2N7ConlAyYwB1z+CqMK"
    "Ay51B1ZDCrwsAzbOB09JCtVKAz89B0gRCu5jA0fGB0CaCwd1A1BqBzjkCyCAA1ktBzDvCzmAA2IRByi8C1J0A2sZByBKC2"
    "taA3RJBxeaC4QxA32kBw6tC5z1A4cuBwWCC7WmA5DpBvwbC84/A5rZBvJ5C+bAA6UDBuidC/8kA69qBt6IDBdrA7oSBtQ3"
    "DC+QA8UABsmwDEeQA9A3Br72DF9nA9u9BrQJDHcSA+eXBqjtDI6OA/PIBp2lDKXWBABVBpI0DLznBA1EBoaXDNO8BBqZBn"
    "raDOpQBChZBm7/DQCeBDaKBmMNDRajBEUxBlcIDSxYBFRRBkrzDUG5BGPwBj7XDVbABHQTBjK9DWtoBIS9BiauDX+rBJXy"
    "BhqvDZODBKe3Bg7KDabsBLoNBgMLDbngBMz4Bfd9DcxZBOB6BewpDd5UBPSTBeEcDe/KBQlEBdZjDgC5BR6MBcwLDhEcBT"
    "RqBcIgDiDxBUrcBbivDjA1BWHeBa/FDj7mBXlsBadtDk0FBZGBBZ+3DlqPBaoYBZiqDmeGBcMrBZJQDnPsBdyyBYy1Dn/C"
    "BfakBYfkDosLBhD7BYPeDpXJBiuwBYCrDqAABka8BX5ODqm1BmITBXzODrLuBn2uBXwtDrutBpmHBXxpDsP3BrWXBX2CDs"
    "vQBtHYBX93DtM+Bu5CBYJGDtpFBwrQBYXtDuDqByd9BYpnDucyB0RCBY+yDu0iB2EcBZXJDvK9B34GBZynDvgIB5r8BaRG"
    "Dv0HB7f7BayiDwG9B9UABbW2DwYuB/IJBb96DwpdCA8UBcnrDw5MCCweBdUCDxH+CEknBeC6DxV1CGYuBe0NDxizCIMxBf"
    "n3Dxu6CKAwBgdyDx6XCL0iBhV6DyFGCNoLBiQJDyPECPbuBjMbDyYRCRPLBkKrDyguCTCjBlK2DyoqCU1sBmM1DywFCWon"
    "BnQmDy2yCYbeBoWFDy8yCaOQBpdPDzCYCcAzBql/DzHiCdzIBrwRDzMACflbBs8FDzP1ChXpBuJYDzTkCjJgBvYADzWnCk"
    "7VBwoCDzY9CmtMBx5eDzbVCoeoBzMDDzdCCqQFB0f+DzeGCsBjB11LDzfNCtyoB3LaDzfnCvjxB4i7DzfnCxU0B57kDzfd"
    "CzFpB7VPDzelC02kB8wHDzdsC2nNB+L7DzcSC4X2B/o2DzabC6IeCBG1DzYiC743CClsDzV3C9pbCEFvDzTbC/ZpCFmhDz"
    "QRDBJ/CHIbDzNCDC6MCIrMDzJcDEqXCKO6DzFgDGaiCLzlDzBgDIKjCNZEDy87DJ6sCO/lDy4jDLqlCQmzDyzcDNarCSPH"
    "DyuuDPKcCT4ADypKDQ6fCViCDykJDSqLCXMjDyeSDUaICY4NDyY/DWJwCakVDyS4DX5qCcRjDyNZDZpOCd/MDyHIDbZDCf"
    "t6DyBkDdIjChc9Dx7SDe4TCjNBDx1qDgnxCk9bDxvfDiXcCmuuDxp3DkG5CogWDxj6Dl2eCqSvDxeVDnl8CsFfDxYtDpVe"
    "Ct4yDxTPDrE+CvshDxOBDs0cCxglDxIrDukCCzVIDxD7DwTgC1JyDw+tDyDOC2/A"
)
_PLACES = (1 << 16, 1 << 8, 1)
_MILLIONTHS = np.frombuffer(base64.b64decode(_MAGMA), np.uint8).reshape(256, 3, 3) @ _PLACES
MAGMA: FloatArray = (_MILLIONTHS / 1e6 * 255).astype(np.float32)
"""Colours from the darkest to the brightest, from 0 to 255 and not whole, shape (256, 3)."""


def magma(shares: FloatArray) -> Pixels:
    """Colour values, from near black over purple and orange to a light yellow.

    Parameters
    ----------
    shares : ndarray of float32
        Of any shape, in [0, 1]; what lies outside takes the colour of the end.

    Returns
    -------
    ndarray of uint8
        Of that shape and a last axis of red, green, blue: `exact_magma` cut to whole numbers.
    """
    return MAGMA.astype(np.uint8)[_steps(shares)]


def exact_magma(shares: FloatArray) -> FloatArray:
    """Colour values as `magma` does, in colours that are not cut to whole numbers.

    Parameters
    ----------
    shares : ndarray of float32
        See `magma`.

    Returns
    -------
    ndarray of float32
        Of that shape and a last axis of red, green, blue, each from 0 to 255.
    """
    return MAGMA[_steps(shares)]


def _steps(shares: FloatArray) -> npt.NDArray[np.intp]:
    return np.clip(shares * len(MAGMA), 0, len(MAGMA) - 1).astype(np.intp)
