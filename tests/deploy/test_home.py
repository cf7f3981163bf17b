import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy import home
from deploy.trouble import Trouble


def test_one_house_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    with (
        home.occupied(tmp_path / "house"),
        pytest.raises(Trouble, match=f"pid {os.getpid()}"),
        home.occupied(tmp_path / "house"),
    ):
        pass
    with home.occupied(tmp_path / "house"):
        pass


def test_a_fresh_start_removes_only_what_kopilka_made(tmp_path: Path) -> None:
    for name in (*home.OWN_FOLDERS, "photos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    home.wipe(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["photos"]


def test_a_disk_that_is_almost_full_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.require_room(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_000_000))
    with pytest.raises(Trouble, match=r"only 12 MB free.*KOPILKA_HOME"):
        home.require_room(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Trouble, match="KOPILKA_HOME"), home.occupied(tmp_path / "file" / "house"):
        pass
