"""Animals, water, air and fire."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.effects import Signal, highpass, lowpass, resonate
from soundalike.synthesis.kinds.kind import Kind
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.scores import steady
from soundalike.synthesis.sources import cycles, decay, drift, oscillate, place, showers, swell
from soundalike.synthesis.take import Take


def birdsong(bag: Bag, take: Take) -> Signal:
    """Repeat a phrase of chirps, each a whistle that sweeps."""
    phrase = [_chirp(bag, take) for _ in range(int(bag["chirps_to_a_phrase"]))]
    sung = np.zeros(take.samples)
    start_s = take.rng.uniform(0.02, 0.2)
    while start_s < take.seconds:
        for chirp in phrase:
            place(chirp, start_s, take.rng.uniform(0.6, 1.0), sung, take.sample_rate)
            start_s += len(chirp) / take.sample_rate + take.rng.uniform(0.02, 0.06)
        start_s += bag["rest_s"] * take.rng.uniform(0.7, 1.3)
    return sung


def _chirp(bag: Bag, take: Take) -> Signal:
    chirp = Take(take.rng.uniform(0.6, 2) * bag["chirp_s"], take.sample_rate, take.rng)
    position = chirp.times_s / chirp.seconds
    slope, bend = take.rng.uniform(-1, 1), take.rng.uniform(-0.6, 0.6)
    trill = 0.04 * np.sin(2 * np.pi * take.rng.uniform(15, 45) * chirp.times_s)
    octaves = bag["sweep_octaves"] * (slope * (position - 0.5) + bend * position**2) + trill
    whistle = oscillate(np.array([1.0, 0.08, 0.03]), bag["pitch_hz"] * 2**octaves, chirp)
    attack_s, release_s = 0.2 * chirp.seconds, 0.4 * chirp.seconds
    return whistle * swell(chirp.samples, attack_s, release_s, take.sample_rate)


def crickets(bag: Bag, take: Take) -> Signal:
    """Rub wings: a near cricket and two far ones, each a pulsed high tone."""
    near = _cricket(bag, 1.0, take)
    far = _cricket(bag, take.rng.uniform(0.9, 0.97), take)
    further = _cricket(bag, take.rng.uniform(1.03, 1.12), take)
    return near + 0.25 * far + 0.12 * further + 0.01 * take.white()


def _cricket(bag: Bag, detune: float, take: Take) -> Signal:
    chirping = np.zeros(take.samples)
    pulse_s = 1 / bag["pulses_per_s"]
    wing = np.sin(2 * np.pi * cycles(detune * bag["pitch_hz"], take))
    rub_samples = round(0.7 * pulse_s * take.sample_rate)
    rub = swell(rub_samples, 0.3 * pulse_s, 0.4 * pulse_s, take.sample_rate)
    for start_s in steady(detune * bag["chirps_per_s"], 0.04, take):
        for number in range(int(bag["pulses_to_a_chirp"])):
            place(rub, start_s + number * pulse_s, 0.6 + 0.1 * number, chirping, take.sample_rate)
    return chirping * wing


def rain(bag: Bag, take: Take) -> Signal:
    """Let it rain: a hiss of far drops and single near ones."""
    hiss = highpass(take.white(), 400, take.sample_rate, order=1)
    hiss = lowpass(hiss, bag["hiss_hz"], take.sample_rate, order=1)
    drops = np.zeros(take.samples)
    for hz in take.rng.uniform(900, 7_000, 5):
        falling = showers(bag["drops_per_s"] / 5, take, spread=0.8)
        drops += resonate(falling, hz, hz / 4, take.sample_rate)
    return 0.12 * hiss + bag["nearness"] * 5 * drops


def wind(bag: Bag, take: Take) -> Signal:
    """Let the wind blow: gusts that whistle higher as they grow."""
    gusts = 0.5 + 0.5 * drift(bag["gusts_per_s"], take)
    air = lowpass(take.white(), 350, take.sample_rate, order=1)
    howl = np.zeros(take.samples)
    steps = np.array([0.6, 0.8, 1.0, 1.25, 1.6])
    for number, step in enumerate(steps):
        # Five fixed resonances take turns, where one would have to slide.
        nearness = np.clip(1 - np.abs(gusts * (len(steps) - 1) - number), 0, 1)
        centre_hz = step * bag["howl_hz"]
        howl += nearness * resonate(air, centre_hz, bag["breadth"] * centre_hz, take.sample_rate)
    return (0.15 * air + howl) * (0.25 + gusts**1.5)


def waves(bag: Bag, take: Take) -> Signal:
    """Let waves break: each a roar that turns to foam as it draws back."""
    position = (take.times_s / bag["swell_s"] + take.rng.random()) % 1.0
    breaking = np.where(position < 0.35, position / 0.35, (1 - position) / 0.65)
    foaming = np.sin(np.pi * np.clip((position - 0.2) / 0.8, 0, 1))
    roar = lowpass(take.white(), bag["roar_hz"], take.sample_rate, order=1)
    foam = highpass(take.white(), 2_000, take.sample_rate, order=1)
    sea = 0.08 * lowpass(take.white(), 250, take.sample_rate, order=1)
    sea += roar * breaking**2 + bag["foam"] * foam * foaming**2
    return sea


def fire(bag: Bag, take: Take) -> Signal:
    """Burn wood: crackles, now and then a pop, over a soft roar."""
    crackles = np.zeros(take.samples)
    for hz in take.rng.uniform(1_200, 8_000, 4):
        sparks = showers(bag["crackles_per_s"] / 4, take, spread=0.8)
        crackles += resonate(sparks, hz, hz / 2, take.sample_rate)
    popped = Take(0.1, take.sample_rate, take.rng)
    pop = popped.white() * decay(popped.samples, 0.02, take.sample_rate)
    for start_s in take.rng.uniform(0, take.seconds, take.rng.poisson(1.2 * take.seconds)):
        place(lowpass(pop, 2_500, take.sample_rate), start_s, 0.8, crackles, take.sample_rate)
    roar = lowpass(take.white(), 180, take.sample_rate) * (1 + 0.5 * drift(6, take))
    return crackles + bag["roar"] * roar


NATURE = (
    Kind(
        "birdsong",
        "A bird repeats a phrase of chirps.",
        birdsong,
        {
            "pitch_hz": Range(2_300, 4_200, "log"),
            "chirps_to_a_phrase": Range(2, 5, "whole"),
            "chirp_s": Range(0.05, 0.16, "log"),
            "rest_s": Range(0.15, 0.6, "log"),
            "sweep_octaves": Range(0.3, 0.9),
        },
    ),
    Kind(
        "crickets",
        "Crickets on a warm night.",
        crickets,
        {
            "pitch_hz": Range(4_000, 5_400, "log"),
            "chirps_per_s": Range(1.6, 4),
            "pulses_to_a_chirp": Range(2, 5, "whole"),
            "pulses_per_s": Range(24, 45),
        },
    ),
    Kind(
        "rain",
        "Rain, from a drizzle to a downpour.",
        rain,
        {
            "drops_per_s": Range(40, 600, "log"),
            "hiss_hz": Range(4_000, 12_000, "log"),
            "nearness": Range(0.15, 0.6, "log"),
        },
    ),
    Kind(
        "wind",
        "Wind that howls in gusts.",
        wind,
        {
            "howl_hz": Range(250, 700, "log"),
            "breadth": Range(0.08, 0.35, "log"),
            "gusts_per_s": Range(0.6, 2, "log"),
        },
    ),
    Kind(
        "waves",
        "Waves that break on a beach.",
        waves,
        {
            "swell_s": Range(1.8, 4, "log"),
            "roar_hz": Range(350, 1_000, "log"),
            "foam": Range(0.08, 0.3, "log"),
        },
    ),
    Kind(
        "fire",
        "A wood fire that crackles.",
        fire,
        {
            "crackles_per_s": Range(8, 45, "log"),
            "roar": Range(0.15, 0.8, "log"),
        },
    ),
)
