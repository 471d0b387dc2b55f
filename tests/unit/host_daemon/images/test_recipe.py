from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from host_daemon.images.recipe import load_recipe, recipe_digest, recipe_names
from vaccel.errors import InvalidArgument, NotFound

CHECKOUT = Path(__file__).resolve().parents[4]


def digest(recipes: Path, requirements: str = "numpy==1\n") -> str:
    return recipe_digest(load_recipe(recipes, "debian"), requirements, "1")


def test_the_digest_depends_on_contents_alone(recipes: Path, tmp_path: Path) -> None:
    before = digest(recipes)
    shutil.copytree(recipes, tmp_path / "elsewhere")
    assert digest(tmp_path / "elsewhere") == before
    (recipes / "debian" / "assemble").touch()
    assert digest(recipes) == before


@pytest.mark.parametrize("change", ["content", "name", "mode", "requirements"])
def test_the_digest_follows_every_change(recipes: Path, change: str) -> None:
    before = digest(recipes)
    inittab = recipes / "debian" / "root" / "etc" / "inittab"
    match change:
        case "content":
            inittab.write_text("other")
        case "name":
            inittab.rename(inittab.with_name("inittab2"))
        case "mode":
            inittab.chmod(0o755)
    assert digest(recipes, "numpy==2\n" if change == "requirements" else "numpy==1\n") != before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("root_mib = 64", "root_mib = -1", "root_mib = -1 is not allowed"),
        ("root_mib = 64", "root_mib = true", "root_mib = True is not allowed"),
        ("root_mib = 64", "root_mb = 64", "unknown key 'root_mb'"),
        ("root_mib = 64", "", "key 'root_mib' is missing"),
        ('packages = ["python3"]', 'packages = ["a b"]', "packages = .* is not allowed"),
        ('packages = ["python3"]', 'packages = "a"', "packages = 'a' is not allowed"),
        ('"quiet"', '"quiet init=/bin/sh"', "command_line = .* is not allowed"),
        ('suite = "bookworm"', 'suite = "-x"', "suite = '-x' is not allowed"),
        ('name = "debian"', 'name = "other"', "name is 'other', its folder 'debian'"),
        ("root_mib", "root_mib =", "is not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_the_key(recipes: Path, old: str, new: str, said: str) -> None:
    path = recipes / "debian" / "recipe.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InvalidArgument, match=said):
        load_recipe(recipes, "debian")


def test_an_unknown_recipe_says_which_there_are(recipes: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_recipe(recipes, "fedora")
    assert caught.value.message == "image 'fedora' has no recipe"
    assert caught.value.hint == "recipes there are: debian"


@pytest.mark.parametrize("name", ["../debian", "", "/etc", "a\nb"])
def test_a_name_is_never_a_path(recipes: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a name"):
        load_recipe(recipes, name)


def test_the_recipe_that_is_shipped() -> None:
    assert recipe_names(CHECKOUT / "images") == ["debian"]
    recipe = load_recipe(CHECKOUT / "images", "debian")
    assert "console=ttyS0" in recipe.command_line
    assert not [word for word in recipe.command_line if word.startswith(("root=", "init="))]
    for program in ("assemble", "initrd/init", "root/usr/sbin/shutdown"):
        assert (recipe.folder / program).stat().st_mode & 0o111, f"{program} is not executable"
