"""One set of pins, for pip and conda, on every system the book is for."""

from __future__ import annotations

import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from project_rules import (
    PYTHONS,
    ROOT,
    conda_pins,
    direct_faults,
    pin_faults,
    read_pins,
)

PINS = read_pins((ROOT / "requirements.txt").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_has_one_pin_wherever_it_is_needed():
    assert pin_faults(PINS) == []


@pytest.mark.parametrize(
    ("pins", "complaint"),
    [
        ("torch>=2", "no exact pin"),
        ("torch==2.*", "no exact pin"),
        ("torch==2.1\ntorch==2.2", "2 pins"),
        ("a==1 ; python_version < '3.12'\na==2 ; python_version >= '3.11'", "2 pins"),
        ("a==1 ; python_version < '3.12'\na==2 ; python_version >= '3.13'", "none of the pins"),
        ("nvidia-nccl-cu13==1", "Linux only"),
        ("nvidia-nccl-cu13==1 ; sys_platform != 'win32'", "macOS"),
    ],
)
def test_wrong_pins_are_caught(pins: str, complaint: str):
    assert any(complaint in fault for fault in pin_faults(read_pins(pins)))


def test_split_and_platform_pins_pass():
    pins = "a==1 ; python_version < '3.12'\na==2 ; python_version >= '3.12'\n"
    assert pin_faults(read_pins(pins + "nvidia-nccl-cu13==1 ; sys_platform == 'linux'")) == []


def test_everything_asked_for_is_pinned():
    assert direct_faults(read_pins((ROOT / "requirements.in").read_text()), PINS) == []


def test_the_ranges_of_the_package_admit_the_pins():
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    assert direct_faults([Requirement(one) for one in wanted], PINS) == []
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    assert [python for python in PYTHONS if python not in supported] == []


@pytest.mark.parametrize(
    ("wanted", "pins"),
    [
        ("torch", "timm==1.0"),
        ("torch==2.15.0", "torch==2.14.0"),
        ("torch>=2.6", "torch==2.5.1"),
        ("torch", "torch==2.15.0 ; sys_platform == 'linux'"),
    ],
)
def test_missing_pins_are_caught(wanted: str, pins: str):
    assert direct_faults(read_pins(wanted), read_pins(pins))


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda_pins(environment) == (ROOT / "requirements.txt").read_text().splitlines()


def test_conda_users_get_camlib():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = environment["dependencies"][-1]["pip"]
    assert pip[0] == "-e ."
    assert conda_pins({"dependencies": ["pip", {"pip": ["-e .", "torch==1"]}]}) == ["torch==1"]
