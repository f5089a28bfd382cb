"""What questions and answers call things: sounds as nouns, sounds that the starter has no name for, and what no sound can tell."""

from __future__ import annotations

NOUNS = {
    "Speech": ("a person", "a voice", "speech"),
    "Bark": ("a dog", "a barking dog"),
    "Crowing, cock-a-doodle-doo": ("a rooster", "a crowing rooster"),
    "Rain": ("rain", "the sound of rain"),
    "Waves, surf": ("waves", "the sea"),
    "Baby cry, infant cry": ("a baby", "a crying baby"),
    "Tick-tock": ("a clock", "a ticking clock"),
    "Sneeze": ("a sneeze", "someone sneezing"),
    "Helicopter": ("a helicopter", "the noise of a helicopter"),
    "Chainsaw": ("a chainsaw", "the noise of a chainsaw"),
    "Crackle": ("a fire", "a crackling fire"),
    "Smoke detector, smoke alarm": ("a smoke alarm", "the alarm"),
    "Siren": ("a siren", "the wail of a siren"),
    "Doorbell": ("a doorbell", "the ring of a doorbell"),
    "Telephone": ("a telephone", "a ringing phone"),
    "Vehicle horn, car horn, honking": ("a car horn", "a honking car"),
    "Knock": ("a knock", "knocking"),
    "Beep, bleep": ("a beep", "beeping"),
    "Engine": ("an engine", "a running engine"),
    "Music": ("music", "some music"),
    "Wind": ("wind", "the sound of wind"),
}
"""The first is what answers say; questions use any."""
DID = {
    "Bark": "did the dog bark",
    "Crowing, cock-a-doodle-doo": "did the rooster crow",
    "Sneeze": "did someone sneeze",
    "Knock": "did someone knock",
    "Beep, bleep": "did something beep",
    "Vehicle horn, car horn, honking": "did the car horn honk",
}
STRANGERS = (
    *(
        "a cat",
        "a bird",
        "a cow",
        "a horse",
        "a sheep",
        "a frog",
        "footsteps",
        "breaking glass",
        "a gunshot",
        "applause",
        "laughter",
        "a cough",
    ),
    *("a train", "an aeroplane", "a bicycle", "a guitar", "a violin", "a drum", "a piano", "a whistle", "a door", "a drill", "a hammer"),
    *(
        "thunder",
        "a vacuum cleaner",
        "a typewriter",
        "a bee",
        "an owl",
        "a wolf",
        "a lion",
        "a toilet",
        "a fan",
        "a lawn mower",
        "a zipper",
    ),
)
"""Sounds outside the label set: the starter cannot tell whether they were there."""
BEYOND = (
    *(
        "What is the name of the person?",
        "Who is speaking?",
        "What did the person say about it?",
        "Which song is playing?",
        "Where was this recorded?",
    ),
    *(
        "What colour is the dog?",
        "How old is the baby?",
        "Why did they knock?",
        "What time is it?",
        "Is the person happy?",
        "What breed is the dog?",
    ),
    *(
        "How far away is it?",
        "Which language is spoken?",
        "Who called?",
        "Is it day or night?",
        "What happens next?",
        "How many people are there?",
    ),
)
