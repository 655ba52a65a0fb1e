"""Post products with images from many clients: `python -m tests.processes.load HOST:PORT SECONDS CLIENTS`.

It prints JSON: the number of responses by status ("lost" means no response), the latest accepted name of each
product, and the median and longest response time in seconds.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import sys
import time
from collections import Counter

from PIL import Image

PRODUCTS_A_CLIENT = 5
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(b"staff:secret").decode(),
    "Content-Type": "multipart/form-data; boundary=B",
    "Connection": "close",
}
PART = '--B\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'


class Load:
    def __init__(self, address: str, seconds: float) -> None:
        self.host, _, port = address.partition(":")
        self.port, self.until = int(port), time.monotonic() + seconds
        self.statuses: Counter[str] = Counter()
        self.names: dict[str, str] = {}
        self.seconds: list[float] = []

    async def client(self, number: int) -> None:
        """Post one product after the other, each again and again under another name; at least one request."""
        await asyncio.sleep(number / 200)
        for turn in itertools.count():
            if turn and time.monotonic() > self.until:
                return
            product_id, name = f"c{number}-{turn % PRODUCTS_A_CLIENT}", f"Mug {number} {turn}"
            started = time.monotonic()
            status = await self.status_of(request(product_id, name, number))
            self.seconds.append(time.monotonic() - started)
            self.statuses[status] += 1
            if status == "202":
                self.names[product_id] = name
            elif status == "lost":
                self.names.pop(product_id, None)  # who knows whether it was kept

    async def status_of(self, message: bytes) -> str:
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            writer.write(message)
            answer = await asyncio.wait_for(reader.read(), 600)
            writer.close()
        except (OSError, TimeoutError):
            return "lost"
        return answer[9:12].decode() or "lost"


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 200), (number % 256, 40, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def request(product_id: str, name: str, number: int) -> bytes:
    fields = {"product_id": product_id, "name": name, "metadata": '{"price": 4.5}'}
    body = b"".join(PART.format(key, "").encode() + value.encode() + b"\r\n" for key, value in fields.items())
    body += PART.format("image_file", '; filename="mug.png"').encode()
    body += picture(number) + b"\r\n--B--\r\n"
    headers = HEADERS | {"Host": "testserver", "Content-Length": str(len(body))}
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST /api/v1/index-product-with-image HTTP/1.1\r\n{head}\r\n".encode() + body


async def main(address: str, seconds: float, clients: int) -> None:
    load = Load(address, seconds)
    await asyncio.gather(*map(load.client, range(clients)))
    times = sorted(load.seconds)
    facts = {
        "statuses": load.statuses,
        "names": load.names,
        "median": times[len(times) // 2],
        "longest": times[-1],
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
