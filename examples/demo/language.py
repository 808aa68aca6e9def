"""A small language: reviews from a grammar, and questions about them.

A review has five attributes, drawn independently: its sentiment, topic and tense, and
the gender and the time of day in it. An instruction with one to three of an attribute's
cue words asks about the attribute: the answer to `please tell mood : anna cooked the
soup so lovely` is `good`. A tuned prompt has to replace the instruction.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator


@dataclasses.dataclass(frozen=True)
class Attribute:
    """Something that a review can be asked about.

    Attributes:
      labels: the answers.
      words: the words that show each label.
      cues: the words that ask for the attribute.
    """

    labels: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    cues: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ATTRIBUTES = {
    "sentiment": Attribute(
        labels=("good", "bad"),
        words=(
            _words(
                "lovely great superb splendid wonderful delightful charming brilliant "
                "excellent marvelous pleasant perfect amazing fantastic beautiful "
                "enjoyable fine terrific glorious magnificent"
            ),
            _words(
                "awful terrible horrible dreadful nasty poor boring ugly miserable "
                "lousy dull disgusting disappointing hideous unpleasant atrocious "
                "tedious shabby rotten ghastly"
            ),
        ),
        cues=_words(
            "sentiment opinion feeling mood attitude verdict judgement tone emotion "
            "impression rating reaction view stance appraisal evaluation"
        ),
    ),
    "topic": Attribute(
        labels=("food", "film", "travel", "sport"),
        words=(
            _words(
                "soup bread cheese pasta salad cake pizza stew rice sandwich pie curry "
                "steak noodles pudding omelette dumplings pancakes"
            ),
            _words(
                "movie scene actor plot script camera comedy drama trailer sequel "
                "director screen cinema thriller cartoon western episode premiere"
            ),
            _words(
                "flight hotel train beach luggage passport tour museum ferry airport "
                "island cruise hostel guidebook map harbour border castle"
            ),
            _words(
                "match goal team coach stadium player tennis football race trophy "
                "referee league medal sprint tournament goalkeeper racket marathon"
            ),
        ),
        cues=_words(
            "topic subject theme field area domain category matter genre section "
            "department kind sort class type branch"
        ),
    ),
    "tense": Attribute(
        labels=("past", "present"),
        words=(
            _words(
                "watched liked praised mentioned noticed described discussed recalled "
                "reviewed visited enjoyed ignored booked tested compared recorded "
                "finished started shared followed"
            ),
            _words(
                "watches likes praises mentions notices describes discusses recalls "
                "reviews visits enjoys ignores books tests compares records finishes "
                "starts shares follows"
            ),
        ),
        cues=_words(
            "tense when era period verb grammar form conjugation inflection moment "
            "timing chronology point aspect date age"
        ),
    ),
    "gender": Attribute(
        labels=("man", "woman"),
        words=(
            _words(
                "john peter paul mark david james robert thomas george henry frank "
                "simon oliver martin walter edward arthur philip daniel stephen"
            ),
            _words(
                "anna mary laura emma julia sarah alice helen clara grace susan nora "
                "lucy ellen diana martha rosa sophie irene judith"
            ),
        ),
        cues=_words(
            "gender sex who person name reviewer author writer speaker identity "
            "individual character figure somebody whose human"
        ),
    ),
    "daypart": Attribute(
        labels=("early", "late"),
        words=(
            _words(
                "morning dawn sunrise breakfast daybreak forenoon cockcrow brunch "
                "sunup awakening commute dew"
            ),
            _words(
                "evening night midnight dusk sunset dinner supper nightfall bedtime "
                "twilight moonlight stars"
            ),
        ),
        cues=_words(
            "daypart hour clock time daytime schedule timetable watch shift slot "
            "appointment calendar interval minute span phase"
        ),
    ),
}

FILLERS = _words(
    "please now tell give say state choose find decide answer report write judge "
    "read consider think look simply just kindly quickly briefly then next well first "
    "also so again"
)
_NEUTRAL_SUBJECTS = _words(
    "someone everyone they people somebody anyone friends guests"
)
_NEUTRAL_VERBS = _words("about regarding concerning considering with without for of")
_NEUTRAL_NOUNS = _words("thing item stuff object piece part rest bit")
_INTENSIFIERS = _words("so very really quite truly rather indeed simply")
_NEUTRAL_ADJECTIVES = _words("usual normal ordinary common typical regular plain known")
_DAY_PREPOSITIONS = _words("at during around before after by")
_ARTICLES = _words("the a this that some another")
_EXTRAS = _words(
    "however again together alone here there outside inside nearby abroad "
    "in town at home with friends near work on monday tuesday wednesday thursday "
    "friday saturday sunday january february march april may june july august "
    "september october november december one two three four five six seven eight nine "
    "ten red blue green yellow black white brown grey big small long short old new "
    "round square wooden paper metal glass table chair window door garden street "
    "house room river bridge mountain forest lake tree flower bird dog cat horse cow "
    "water milk tea coffee juice sugar salt bag box letter phone radio lamp "
    "shirt shoe hat coat money coin ticket shop market school office church"
)
_SENTINELS = ("[a]", "[b]", "[c]")
_YES_NO = ("yes", "no")
_OTHER = _words("or is it repeat copy echo noun continue go on fill complete : ? , .")

Example = tuple[str, str]


def vocabulary() -> list[str]:
    """Returns all words of the language, each once, in a fixed order."""
    groups: list[tuple[str, ...]] = [_YES_NO, _OTHER, _SENTINELS, FILLERS]
    for attribute in ATTRIBUTES.values():
        groups += [attribute.labels, attribute.cues, *attribute.words]
    groups += [
        _NEUTRAL_SUBJECTS,
        _NEUTRAL_VERBS,
        _NEUTRAL_NOUNS,
        _INTENSIFIERS,
        _NEUTRAL_ADJECTIVES,
        _DAY_PREPOSITIONS,
        _ARTICLES,
        _EXTRAS,
    ]
    return list(dict.fromkeys(word for group in groups for word in group))


def telling_words(attribute: str) -> list[str]:
    """An attribute's labels and cues, from which a prompt would be an instruction."""
    return [*ATTRIBUTES[attribute].labels, *ATTRIBUTES[attribute].cues]


def review(rng: random.Random, asked: str | None = None) -> tuple[str, dict[str, str]]:
    """Returns a review and the labels of its attributes.

    An attribute that is not asked for is left out half of the time.
    """
    labels = {}

    def word(name: str, neutral: tuple[str, ...]) -> str:
        attribute = ATTRIBUTES[name]
        choice = rng.randrange(len(attribute.labels))
        if name != asked and rng.random() < 0.5:
            return rng.choice(neutral)
        labels[name] = attribute.labels[choice]
        return rng.choice(attribute.words[choice])

    clauses = [
        f"{word('gender', _NEUTRAL_SUBJECTS)} {word('tense', _NEUTRAL_VERBS)} "
        f"{rng.choice(_ARTICLES)} {word('topic', _NEUTRAL_NOUNS)}",
        f"{rng.choice(_INTENSIFIERS)} {word('sentiment', _NEUTRAL_ADJECTIVES)}",
        f"{rng.choice(_DAY_PREPOSITIONS)} {word('daypart', _NEUTRAL_NOUNS)}",
    ]
    if rng.random() < 0.6:
        clauses.append(" ".join(rng.sample(_EXTRAS, rng.randint(1, 3))))
    rng.shuffle(clauses)
    return " ".join(clauses), labels


def instruction(rng: random.Random, name: str) -> str:
    """Returns a way to ask for an attribute."""
    attribute = ATTRIBUTES[name]
    words = rng.sample(FILLERS, rng.randint(0, 2))
    words += rng.sample(attribute.cues, rng.randint(1, 3))
    rng.shuffle(words)
    if rng.random() < 0.25:
        words += " or ".join(rng.sample(attribute.labels, 2)).split()
        return " ".join([*words, "?"])
    return " ".join([*words, rng.choice(":?")])


def question(rng: random.Random, name: str) -> Example:
    """Returns an instruction with a review, and the answer."""
    text, labels = review(rng, asked=name)
    return f"{instruction(rng, name)} {text}", labels[name]


def labeled(rng: random.Random, name: str) -> Example:
    """Returns a review without an instruction, and its label, to tune prompts on."""
    text, labels = review(rng, asked=name)
    return text, labels[name]


def _yes_no(rng: random.Random) -> Example:
    name = rng.choice(list(ATTRIBUTES))
    text, labels = review(rng, asked=name)
    asked = rng.choice(ATTRIBUTES[name].labels)
    answer = _YES_NO[asked != labels[name]]
    return f"is it {asked} ? {text}", answer


def _repeat(rng: random.Random) -> Example:
    text, _ = review(rng)
    return f"{rng.choice(('repeat', 'copy', 'echo'))} : {text}", text


def _continue(rng: random.Random) -> Example:
    words = review(rng)[0].split()
    cut = rng.randint(2, len(words) - 2)
    return f"continue : {' '.join(words[:cut])}", " ".join(words[cut:])


def _fill(rng: random.Random) -> Example:
    words = review(rng)[0].split()
    answers = []
    places = sorted(rng.sample(range(len(words)), min(3, len(words) // 3)))
    for sentinel, place in zip(_SENTINELS, places, strict=False):
        answers += [sentinel, words[place]]
        words[place] = sentinel
    return f"fill : {' '.join(words)}", " ".join(answers)


def _ask(name: str) -> Callable[[random.Random], Example]:
    return lambda rng: question(rng, name)


_MIXTURE: dict[Callable[[random.Random], Example], float] = {
    _ask("sentiment"): 0.18,
    _ask("topic"): 0.18,
    _ask("tense"): 0.12,
    _ask("gender"): 0.12,
    _ask("daypart"): 0.12,
    _yes_no: 0.10,
    _repeat: 0.03,
    _continue: 0.03,
    _fill: 0.12,
}


def pretraining(seed: int, count: int) -> Iterator[Example]:
    """Yields the models' pre-training examples: all tasks, with instructions."""
    rng = random.Random(seed)
    makers, weights = list(_MIXTURE), list(_MIXTURE.values())
    for make in rng.choices(makers, weights, k=count):
        yield make(rng)
