"""``vaccelctl image``: guest images."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from vaccel.cli import render
from vaccel.cli.options import Json, examples, noun
from vaccel.cli.session import session_of
from vaccel.cli.sizes import size_text

if TYPE_CHECKING:
    from vaccel.inventory import Image

app = noun(
    "Guest images that VMs boot.\n\n"
    "An image is built from a recipe, a folder under images/, and kept in the cache by the hash of "
    "all that went into it. vm start builds what is missing by itself."
)


@app.command("build", epilog=examples("image build", "image build debian --rebuild"))
def build(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Default: debian.")] = "",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Even where the cache has it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a guest image, or find it in the cache."""
    from vaccel.bench.reporter import Reporter

    with session_of(ctx).host() as host, Reporter() as progress:
        image = host.build_image(recipe, rebuild, progress=progress)
    if as_json:
        render.print_json(image)
        return
    render.say(f"image {image.name} {image.digest[:12]}: {size_text(image.bytes)} at {image.path}")


@app.command("list", epilog=examples("image list"))
def list_images(ctx: typer.Context, as_json: Json = False) -> None:
    """List the images in the cache, and which one vm start would boot."""
    with session_of(ctx).host() as host:
        images = host.images()
    if as_json:
        render.print_json(images)
        return
    render.print_table(
        ("name", "digest", "size", "built", "current"),
        [_row(image) for image in images],
        "No images. Build one: vaccelctl image build",
    )


def _row(image: Image) -> tuple[object, ...]:
    built = datetime.fromtimestamp(image.built_unix_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
    current = "yes" if image.current else "no"
    return (image.name, image.digest[:12], size_text(image.bytes), built, current)
