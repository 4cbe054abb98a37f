"""Parse the query of a request for a photo."""

import re
from typing import Annotated, Literal

from fastapi import Depends, Query, Request

from ..identifier import AUTO, CENTER, Where
from ..prediction import Options
from . import problems

PARAMETERS = ("top", "heatmap", "crop", "birds", "same_bird")
AZURE_PARAMETERS = ("code", "clientId")  # a key and its name, which Azure has checked already
CROP = re.compile(r"auto|center|[0-9]{1,9}(,[0-9]{1,9}){3}", re.ASCII)


async def reject_unknown_parameters(request: Request) -> None:
    """Raise a Problem for a parameter that does not exist; a typo would be ignored otherwise."""
    for name in request.query_params:
        if name not in PARAMETERS + AZURE_PARAMETERS:
            listed = f"{', '.join(PARAMETERS[:-1])} and {PARAMETERS[-1]}"
            detail = f"There is no parameter {name!r}. The parameters are {listed}."
            raise problems.Problem(422, "invalid-query", detail)


async def parse_crop(
    crop: Annotated[
        str,
        Query(
            description="Where to look. `auto`: at a bird that the finder finds, or at the middle "
            "square; `center`: at the middle square; or left,top,width,height in pixels of the "
            "upright photo, widened to a square.",
            json_schema_extra={"pattern": f"^({CROP.pattern})$"},
        ),
    ] = AUTO,
) -> Where:
    """Return where to look; raise a Problem for another value than those of the parameter."""
    if not CROP.fullmatch(crop):
        detail = f"crop is {crop[:60]!r}. Send auto, center, or left,top,width,height in pixels."
        raise problems.Problem(422, "invalid-query", detail)
    if crop in (AUTO, CENTER):
        return crop
    left, top, width, height = map(int, crop.split(","))
    return left, top, width, height


async def parse_options(
    where: Annotated[Where, Depends(parse_crop)],
    top: Annotated[int, Query(description="How many predictions to return.")] = 5,
    heatmap: Annotated[bool, Query(description="Also return the heat map.")] = False,
    birds: Annotated[
        Literal["all"] | None, Query(description="Also return each of up to five birds.")
    ] = None,
    same_bird: Annotated[
        bool,
        Query(description="The photos of a form show one bird: also return one answer for all."),
    ] = False,
) -> Options:
    """Return what is requested for each photo, and for all of them."""
    return Options(top, heatmap, where, birds == "all", same_bird)


def check_form(options: Options, is_form: bool) -> None:
    """Raise a Problem where one answer for several photos is requested of a single photo."""
    if options.same_bird and not is_form:
        detail = "same_bird is for several photos of one bird. Send them in a form, named photo."
        raise problems.Problem(422, "invalid-query", detail)
