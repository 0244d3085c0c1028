"""Links between sites: TCP relays in one asyncio loop, each with a one-way delay, that can be cut.

A cut link refuses new connections and ends those that are open, as a site does that is gone."""
import asyncio
import threading


class Link:
    def __init__(self, loop, listen, target, delay):
        self.loop, self.listen, self.target, self.delay = loop, listen, target, delay
        self.server, self.writers = None, set()

    async def open(self):
        if not self.server:
            self.server = await asyncio.start_server(self.join, *self.listen)

    async def close(self):
        if self.server:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def join(self, reader, writer):
        self.writers.add(writer)
        far = None
        try:
            far_reader, far = await asyncio.open_connection(*self.target)
            self.writers.add(far)
            await asyncio.gather(self.pump(reader, far), self.pump(far_reader, writer))
        except OSError:
            pass
        finally:
            for w in (writer, far):
                if w:
                    self.writers.discard(w)
                    w.close()

    async def pump(self, reader, writer):
        """What arrives leaves `delay` later, in order; the queue is bounded, so a slow sink slows its source."""
        queue = asyncio.Queue(256)

        async def deliver():
            while True:
                due, data = await queue.get()
                wait = due - self.loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
        sender = asyncio.ensure_future(deliver())
        try:
            data = True
            while data:
                data = await reader.read(65536)
                await queue.put((self.loop.time() + self.delay, data))
            await sender
        except OSError:
            writer.transport.abort()
        finally:
            sender.cancel()


class Links:
    """All links, run by a thread of their own. Keys are (from site, to site)."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.links = {}
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(5)

    def add(self, pair, listen, target, delay):
        self.links[pair] = Link(self.loop, listen, target, delay)
        self.call(self.links[pair].open())

    def each(self, verb, site=None):
        """open or close every link, or those that lead to or from site."""
        for pair, link in self.links.items():
            if site is None or site in pair:
                self.call(getattr(link, verb)())
