"""The portal process: wires settings, database, services and views, and serves until told to stop."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from cloud import background, catalogs
from cloud.config import LOOPBACK, ConfigError, Settings
from cloud.notify.mailer import Mailer, SmtpServer, SmtpTls
from cloud.postgres.pool import make_pool
from cloud.process import keep_what_is_loaded
from cloud.provision import ProvisionError, load_key_set, load_signer
from cloud.provision_systems import load_system_keys
from cloud.services.accounts import Authenticator
from cloud.services.commanding import Commander
from cloud.services.derivation import LabelKeys
from cloud.services.kit import Kit
from cloud.services.notice_letters import renew
from cloud.services.passwords import Passwords
from cloud.services.system_registering import SystemKeys
from cloud.services.vault import Vault, VaultError
from cloud.web import (
    account_views,
    alarm_views,
    api_views,
    audit_views,
    claim_lists,
    claim_views,
    command_views,
    company_views,
    device_list_views,
    device_live,
    device_page,
    help_views,
    language_views,
    login_views,
    mailbox_views,
    middleware,
    notice_views,
    outage_views,
    owner_views,
    partner_views,
    passkey_views,
    registration_page_views,
    registration_views,
    rule_views,
    safety_views,
    settings_views,
    sign_up_views,
    site_views,
    system_views,
    token_views,
)
from cloud.web.api import routes as api
from cloud.web.assets import built
from cloud.web.housekeeping import keeping_house, looking_after_owners, looking_after_warranties
from cloud.web.live import Hub
from cloud.web.metrics import Metrics
from cloud.web.render import Pages
from cloud.web.state import (
    AUTHENTICATOR,
    COMMANDER,
    HUB,
    KIT,
    LABEL_KEYS,
    METRICS,
    PAGES,
    POOL,
    SETTINGS,
    SYSTEM_KEYS,
    WARNED,
    is_secure,
    now_ms,
)
from protocol.messages import KeyUse

MAX_BODY_BYTES: Final = 64 * 1024
STOP_TIMEOUT_S: Final = 2.5
KEEP_ALIVE_S: Final = 75.0

log = structlog.get_logger()


def make_app(settings: Settings) -> web.Application:
    """The application; its resources open at start-up and close at clean-up."""
    catalogs.load()
    app = web.Application(middlewares=middleware.ALL, client_max_size=MAX_BODY_BYTES)
    app[SETTINGS] = settings
    app[PAGES] = Pages(settings.brand)
    app[METRICS] = Metrics()
    app[WARNED] = set()
    app.on_response_prepare.append(middleware.set_headers)
    app.cleanup_ctx.append(_resources)
    app.on_shutdown.append(_end_streams)
    for views in (
        system_views,
        login_views,
        partner_views,
        device_live,
        device_page,
        device_list_views,
        settings_views,
        command_views,
        outage_views,
        owner_views,
        rule_views,
        registration_views,
        registration_page_views,
        help_views,
        language_views,
        claim_lists,
        claim_views,
        api,
        api_views,
        sign_up_views,
        mailbox_views,
        account_views,
        safety_views,
        passkey_views,
        token_views,
        audit_views,
        company_views,
        alarm_views,
        site_views,
        notice_views,
    ):
        views.add_routes(app)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    try:
        vault = Vault.load(settings.secrets_key_path)
        signer = load_signer(settings.state_dir, KeyUse.COMMAND)
        private = load_system_keys(settings.state_dir / "keys")
        system_keys = SystemKeys(private, load_key_set(settings.state_dir).version)
    except (VaultError, ProvisionError, OSError, TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
    with Passwords() as passwords, LabelKeys() as label_keys:
        app[LABEL_KEYS] = label_keys
        app[SYSTEM_KEYS] = system_keys
        app[METRICS].show_claims(lambda: label_keys.taken_in, lambda: label_keys.spent)
        async with make_pool(settings.dsn, name="portal", max_size=settings.pool_size, acting=True) as pool:
            app[POOL] = pool
            app[COMMANDER] = Commander(pool, signer)
            app[AUTHENTICATOR] = Authenticator(pool, passwords)
            app[KIT] = Kit(
                pool, passwords, vault, settings.brand, settings.portal_url, choices=settings.choices
            )
            hub = app[HUB] = Hub(pool, settings.dsn, app[METRICS])
            mailer = Mailer(pool, mail_server(settings), now_ms, partial(renew, app[KIT]))
            owners = looking_after_owners(app[KIT])
            house = keeping_house(pool, settings.rejected_days)
            warranties = looking_after_warranties(app[KIT])
            async with hub.run(), house, owners, warranties, background.running({"mailer": mailer.run()}):
                yield


async def _end_streams(app: web.Application) -> None:
    """Open streams would hold the stop back: they end first."""
    app[HUB].close()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; every request ends or is cut within seconds."""
    if not is_secure(settings) and settings.portal_host not in LOOPBACK:
        raise ConfigError(
            "the portal serves plain HTTP on loopback only: set portal_tls, or public_url = https://… with a "
            "proxy in front"
        )
    if not built("main.js"):
        log.warning("the browser files are missing, pages are not live: run `python build_assets.py`")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = make_app(settings)
    keep_what_is_loaded()
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=STOP_TIMEOUT_S
    )
    await runner.setup()
    try:
        site = web.TCPSite(
            runner,
            settings.portal_host,
            settings.portal_port,
            ssl_context=server_tls(settings),
            reuse_address=True,
        )
        await site.start()
        app[LABEL_KEYS].start()
        port = runner.addresses[0][1]
        log.info("ready", address=f"{settings.portal_host}:{port}", url=settings.portal_url)
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()


def mail_server(settings: Settings) -> SmtpServer | None:
    """Where mails are sent; None leaves them in the outbox."""
    if settings.mail != "smtp":
        return None
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.mail_from,
        tls=SmtpTls(settings.smtp_tls),
        user=settings.smtp_user,
        password_file=settings.smtp_password_file,
        ca_file=settings.smtp_ca_file,
    )


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """What the portal serves HTTPS with; None for plain HTTP."""
    if not settings.portal_tls:
        return None
    certificate, key = settings.certificate_paths
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
