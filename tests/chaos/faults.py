"""What is done to the sites, at random from a seed: each fault begins, lasts, and is taken back; several may overlap,
but a site has one fault of its own at a time, and one site at least is left up.

    kill    kill -9, and a start later          cut      one pair of sites, one way or both
    pause   SIGSTOP, SIGCONT later              isolate  one site from all others
    disk    the state folder's disk is filled   clock    the clock jumps by up to an hour, back and forth
    drop    the application resets connections after it acted      late    it acts, and answers seconds later
    refuse  it refuses at random, with 503, 500, 429 or 409"""
import random
import time

KINDS = ('kill', 'pause', 'cut', 'isolate', 'disk', 'clock', 'drop', 'late', 'refuse')
LASTS = {'kill': (0.1, 3), 'pause': (0.2, 5), 'cut': (0.5, 8), 'isolate': (0.5, 8), 'disk': (1, 5), 'drop': (0.5, 2),
         'late': (1, 7), 'refuse': (1, 3)}


class Faults:
    """run() until a time; counts[kind]: how often.  restless: mean seconds between two."""

    def __init__(self, world, seed, kinds, restless=1.0):
        self.world, self.rng, self.kinds, self.restless = world, random.Random(f'{seed} faults'), kinds, restless
        self.counts = dict.fromkeys(kinds, 0)
        self.troubled, self.gone, self.pending = {}, set(), []     # sites and their fault; ways; (due, number, undo)
        self.number = 0

    def run(self, until):
        following = time.monotonic()
        while time.monotonic() < until:
            self.undo_due(time.monotonic())
            self.raise_crashed()
            if time.monotonic() >= following:
                self.begin(self.rng.choice(self.kinds))
                following += self.rng.expovariate(1 / self.restless)
            time.sleep(0.01)
        self.undo_due(float('inf'))
        self.raise_crashed()

    def raise_crashed(self):
        """Those that ended by themselves are started, as their supervisor would."""
        for name, site in self.world.sites.items():
            if site.state == 'running' and site.crashed():
                self.world.diary.begin(name, 'kill')
                site.kill()
                site.start()
                self.world.diary.end(name, 'kill')

    def undo_due(self, now):
        for item in sorted(i for i in self.pending if i[0] <= now):
            self.pending.remove(item)
            item[2]()

    def begin(self, kind):
        undo = getattr(self, kind)()
        if undo:
            self.counts[kind] += 1
            self.number += 1
            self.pending.append((time.monotonic() + self.rng.uniform(*LASTS[kind]), self.number, undo))

    def at_site(self, what, do, undo):
        """A fault of a site that has none; what takes it back."""
        free = [n for n in self.world.names if n not in self.troubled]
        if len(free) < 2:
            return None
        name, diary = self.rng.choice(free), self.world.diary
        site = self.world.sites[name]
        self.troubled[name] = what
        diary.begin(name, what)
        do(site)

        def take_back():
            undo(site)
            diary.end(name, what)
            del self.troubled[name]
        return take_back

    def kill(self):
        return self.at_site('kill', lambda s: s.kill(), lambda s: s.start())

    def pause(self):
        return self.at_site('pause', lambda s: s.pause(), lambda s: s.resume())

    def disk(self):
        return self.at_site('disk', lambda s: s.fill_disk(), lambda s: s.free_disk())

    def ways(self, ways):
        """Cuts those that are not cut yet."""
        ways = [w for w in ways if w not in self.gone]
        for w in ways:
            self.world.cut(*w)
        self.gone.update(ways)

        def take_back():
            for w in ways:
                self.world.heal(*w)
            self.gone.difference_update(ways)
        return take_back if ways else None

    def cut(self):
        a, b = self.rng.sample(self.world.names, 2)
        return self.ways([(a, b)] if self.rng.random() < 0.5 else [(a, b), (b, a)])

    def isolate(self):
        name = self.rng.choice(self.world.names)
        return self.ways([w for n in self.world.names if n != name for w in ((n, name), (name, n))])

    def clock(self):
        """Stays as it is: the next one moves it again."""
        name = self.rng.choice(self.world.names)
        self.world.sites[name].move_clock(self.rng.choice((-1, 1)) * int(10 ** self.rng.uniform(0, 3.55)))
        self.counts['clock'] += 1

    def application(self, kind, what):
        name = self.rng.choice(self.world.names)
        app, diary = self.world.apps[name], self.world.diary
        if diary.during(time.monotonic(), time.monotonic(), name, kind):
            return None
        fault = app.misbehave(what, LASTS[kind][1])
        diary.begin(name, kind)

        def take_back():
            app.behave(fault)
            diary.end(name, kind)
        return take_back

    def drop(self):
        return self.application('drop', 'drop-after')

    def late(self):
        return self.application('late', 'late')

    def refuse(self):
        return self.application('refuse', self.rng.choice((503, 500, 429, 409)))
