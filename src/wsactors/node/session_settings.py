"""The settings of sessions that are there from the start (:mod:`wsactors.node.settings`), and what their parts take of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import attrs

from wsactors.node.defaults import defaults_folder
from wsactors.node.fields import BadSetting, between, matches, setting
from wsactors.sessions.options import BattleOptions
from wsactors.sessions.stage_options import MAX_SPEAKERS, MAX_TOPIC, BoardOptions, StageOptions, Who

__all__ = ["SessionSettings", "battle_options", "session_tree_file", "stage_options"]

_WHO: Final = "nobody, moderators, speakers or everybody"


def _tiers(_: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    try:
        BattleOptions(tiers=value)
    except ValueError as error:
        raise BadSetting(attribute.name, f"{error}; got {list(value)!r}") from None


@attrs.frozen
class SessionSettings:
    """One session that is there from the start."""

    kind: Literal["battle", "stage", "voice"] = setting(
        "battle",
        "What the session is: a battle has two decks and a crossfader; in a stage those speak whom moderators let; in a voice "
        "session everybody does.",
    )
    title: str = setting(
        "", "What people read; empty = the name.", check=matches(r".{0,200}", "at most 200 characters")
    )
    tree: Path | None = setting(
        None, "Supervisor file of the session's actors; empty = the battle.toml or stage.toml that comes with wsactors."
    )
    songs: Path | None = setting(
        None, "Battle: folder with the music the decks play; empty = two synthesised loops that fit each other."
    )
    bitrate: int = setting(128_000, "Battle: bits per second of the Opus stream.", check=between(16_000, 510_000))
    tiers: tuple[int, ...] = setting(
        (64_000, 32_000),
        "Battle: lower bit rates, best first and at most three, for listeners whose reports tell of much loss; each is coded "
        "only while somebody needs it. Empty = everybody always gets `bitrate`.",
        check=_tiers,
    )
    fade_seconds: float = setting(
        16.0,
        "Battle, with loops: seconds from one move of the crossfader to the next. With songs: seconds in which one gives way "
        "to the next, at most 16. 0 leaves the crossfader alone.",
        check=between(0, 3600),
    )
    topic: str = setting(
        "",
        "Stage: what it is about, until a moderator says something else.",
        check=matches(rf".{{0,{MAX_TOPIC}}}", f"at most {MAX_TOPIC} characters"),
    )
    moderators: tuple[str, ...] = setting((), "Stage: the subjects of those who moderate, as their tokens have them.")
    moderator_roles: tuple[str, ...] = setting(
        ("moderator",), "Stage: roles with which one moderates, as tokens have them."
    )
    first_moderates: bool = setting(
        False,
        "Stage: let whoever comes while nobody moderates be a moderator, known or not. For rehearsals on your own machine.",
    )
    people: int = setting(
        0, "Stage: most people at a time; 0 = 5000, in a voice session 99.", check=between(0, 100_000)
    )
    speakers: int = setting(
        0, "Stage: most people on the stage at a time; 0 = 50, in a voice session all.", check=between(0, MAX_SPEAKERS)
    )
    hands: int = setting(500, "Stage: most hands up at a time.", check=between(0, 10_000))
    push_to_talk: bool = setting(False, "Stage: let all but moderators hold a key while they speak.")
    loudest: int = setting(6, "Stage: how many voices are sent at a time, the loudest.", check=between(1, 32))
    grace_seconds: float = setting(
        30.0,
        "Stage: seconds for which somebody whose connection broke keeps role, hand and place.",
        check=between(0, 3600),
    )
    ban_seconds: float = setting(
        300.0, "Stage: seconds for which somebody who was kicked stays out.", check=between(0, 86_400)
    )
    board_play: Who = setting("speakers", f"Stage: who may play clips of the soundboard: {_WHO}.")
    board_upload: Who = setting("moderators", f"Stage: who may add clips: {_WHO}.")
    clips: int = setting(24, "Stage: most clips, of up to 2 MB of memory each.", check=between(0, 100))
    clip_seconds: int = setting(10, "Stage: longest clip.", check=between(1, 30))
    clip_bytes: int = setting(1_000_000, "Stage: largest file of a clip.", check=between(1_000, 10_000_000))

    def __attrs_post_init__(self) -> None:
        if self.kind == "voice" and self.people > MAX_SPEAKERS:
            raise BadSetting("people", f"expected at most {MAX_SPEAKERS} where everybody speaks, got {self.people}")


def battle_options(name: str, settings: SessionSettings) -> BattleOptions:
    """What a battle of this name takes."""
    return BattleOptions(
        name=name,
        title=settings.title or name,
        songs=settings.songs,
        bitrate=settings.bitrate,
        tiers=settings.tiers,
        fade_seconds=settings.fade_seconds,
    )


def stage_options(name: str, settings: SessionSettings) -> StageOptions:
    """What a stage or a voice session of this name takes."""
    numbers = {what: value for what in ("people", "speakers") if (value := getattr(settings, what))}
    return StageOptions(
        name=name,
        kind="voice" if settings.kind == "voice" else "stage",
        title=settings.title or name,
        topic=settings.topic,
        moderators=settings.moderators,
        moderator_roles=settings.moderator_roles,
        first_moderates=settings.first_moderates,
        hands=settings.hands,
        push_to_talk=settings.push_to_talk,
        loudest=settings.loudest,
        grace_seconds=settings.grace_seconds,
        ban_seconds=settings.ban_seconds,
        board=BoardOptions(
            play=settings.board_play,
            upload=settings.board_upload,
            clips=settings.clips,
            seconds=settings.clip_seconds,
            clip_bytes=settings.clip_bytes,
        ),
        **numbers,
    )


def session_tree_file(settings: SessionSettings) -> Path:
    """The supervisor file of a session's actors."""
    if settings.tree is not None:
        return settings.tree
    return defaults_folder() / "supervisors" / ("battle.toml" if settings.kind == "battle" else "stage.toml")
