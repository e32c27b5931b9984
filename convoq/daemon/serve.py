"""The webhook API as a role: the app, its listener, and the queue that it enqueues into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoq import systemd
from convoq.daemon.process import open_storage
from convoq.daemon.reload import Reload
from convoq.daemon.supervision import Stop, supervised
from convoq.db.store import Store
from convoq.queue.service import QueueService
from convoq.settings import Options
from convoq.settings.load import Loaded

if TYPE_CHECKING:
    from convoq.api.server import RunningServer


async def serve(loaded: Loaded, stop: Stop, reload: Reload) -> None:
    """Verify, enqueue, answer, until the stop is requested."""
    async with open_storage(loaded.options) as (database, queue, *_):
        server = await start_server(loaded.options, database, queue)
        status = f"listening on {', '.join(server.addresses)}"
        try:
            async with supervised(
                database, "serve", stop, lambda: status, reload=reload,
                address=server.addresses[0], config=loaded.config_path,
            ):  # fmt: skip
                _take_over()
                await stop.requested.wait()
        finally:
            await server.stop()


async def start_server(options: Options, database: Store, queue: QueueService) -> RunningServer:
    from convoq.api.app import create_app
    from convoq.api.health import StorageReadiness
    from convoq.api.server import serve as listen
    from convoq.channels.opening import open_webhooks

    app = create_app(
        open_webhooks(options),
        enqueuer=queue,
        settings=options.server,
        readiness=StorageReadiness(database, queue.check),
    )
    return await listen(app, options.server, sockets=systemd.copy_listen_sockets())


def _take_over() -> None:
    """Started: the copies are listened on, and convoq.daemon.unstarted has no part in what comes from here on."""
    for handed_over in systemd.listen_sockets():
        handed_over.close()
