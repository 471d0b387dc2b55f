"""A guest's recipe: the folder images/NAME, read and checked once.

The folder holds ``recipe.toml`` and the files that go into the guest; docs/images.md has both.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, NotFound
from vaccel.ids import is_name

_WORD: Final = re.compile(r"[A-Za-z0-9?][A-Za-z0-9.+_~-]*")
_LISTS: Final = (
    "packages",
    "modules_early",
    "modules_late",
    "wheels",
    "platforms",
    "command_line",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What ``recipe.toml`` says. ``folder`` is where it lies."""

    folder: Path
    name: str
    suite: str
    architecture: str
    python: str
    kernel_package: str
    packages: tuple[str, ...]
    modules_early: tuple[str, ...]
    modules_late: tuple[str, ...]
    wheels: tuple[str, ...]
    platforms: tuple[str, ...]
    command_line: tuple[str, ...]
    root_mib: int


def load_recipe(recipes: Path, name: str) -> Recipe:
    """The recipe of a guest.

    Raises NotFound where there is none of that name, and InvalidArgument naming the key that is
    unknown, missing or wrong.
    """
    if not is_name(name):
        raise InvalidArgument(
            f"image name {name!r} is not a name", hint="use letters, digits, dashes"
        )
    path = recipes / name / "recipe.toml"
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(recipe_names(recipes)) or "none"
        raise NotFound(
            f"image {name!r} has no recipe", hint=f"recipes there are: {known}"
        ) from None
    except OSError as fault:
        raise HostFault(f"recipe {path} cannot be read: {fault.strerror}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise InvalidArgument(f"recipe {path} is not TOML: {fault}") from fault
    _check(path, values)
    if values["name"] != name:
        raise InvalidArgument(f"recipe {path}: name is {values['name']!r}, its folder {name!r}")
    checked: dict[str, Any] = {
        key: tuple(value) if key in _LISTS else value for key, value in values.items()
    }
    return Recipe(folder=path.parent, **checked)


def recipe_names(recipes: Path) -> list[str]:
    """Names of all guests that have a recipe, sorted."""
    return sorted(path.parent.name for path in recipes.glob("*/recipe.toml"))


def _check(path: Path, values: dict[str, Any]) -> None:
    keys = {field.name for field in fields(Recipe)} - {"folder"}
    for key in sorted(values.keys() - keys):
        raise InvalidArgument(f"recipe {path}: unknown key {key!r}", hint=f"keys: {sorted(keys)}")
    for key in sorted(keys - values.keys()):
        raise InvalidArgument(f"recipe {path}: key {key!r} is missing")
    for key, value in values.items():
        if key == "root_mib":
            right = type(value) is int and 0 < value <= bounds.IMAGE_ROOT_BYTES // bounds.MIB
        elif key == "command_line":
            right = isinstance(value, list) and all(
                isinstance(word, str) and word.isprintable() and not set(word) & set(" \"'")
                for word in value
            )
        elif key in _LISTS:
            right = isinstance(value, list) and all(_is_word(word) for word in value)
        else:
            right = _is_word(value)
        if not right:
            raise InvalidArgument(f"recipe {path}: {key} = {value!r} is not allowed")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def recipe_digest(recipe: Recipe, requirements: str, builder: str) -> str:
    """SHA-256, in hex, over every file of the recipe, the requirements and the builder's version.

    Contents, relative paths and the executable bit count; times, owners and the checkout's place do
    not.
    """
    total = hashlib.sha256()
    for path in sorted(recipe.folder.rglob("*")):
        if path.is_symlink():
            kind, content = "link", str(path.readlink()).encode()
        elif path.is_file():
            kind = "program" if path.stat().st_mode & 0o100 else "file"
            content = path.read_bytes()
        else:
            continue
        _add(total, f"{kind} {path.relative_to(recipe.folder).as_posix()}", content)
    _add(total, "requirements", requirements.encode())
    _add(total, "builder", builder.encode())
    return total.hexdigest()


def _add(total: hashlib._Hash, label: str, content: bytes) -> None:
    total.update(f"{label}\0{len(content)}\0".encode())
    total.update(content)
