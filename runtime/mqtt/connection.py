"""One connection to the broker, from TCP connect to its end. The only home of paho in the runtime.

Every connection is a new client. A unit's has a clean start: what was in flight when one was lost
is sent again by the next from the outbox, and nothing waits inside paho. A site's takes its session
up again: what it had not acknowledged, the broker sends again. paho queues by itself once
`max_inflight_messages` (20) are unacknowledged, and ignores the receive maximum of the CONNACK;
here its limit is off, and the caller keeps to the broker's.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MQTTException, Properties  # type: ignore[attr-defined]
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from models.errors import PeerError
from runtime.messages.commands import COMMAND_LIMIT_BYTES
from runtime.mqtt.connection_events import (
    UNIT_SESSION,
    Connected,
    ConnectOptions,
    Heard,
    Listening,
    Lost,
    PublishAcknowledged,
)
from runtime.mqtt.tls import broker_password, proxy_arguments, tls_context
from runtime.mqtt.wakeup_pipe import WakeupPipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from queue import SimpleQueue

    from runtime.mqtt.connection_events import Signal
    from runtime.mqtt.settings import BrokerAddress, BrokerSettings
    from runtime.publishing.publication import Announcement

LOG = logging.getLogger(__name__)

NO_LIMIT_RECEIVE_MAXIMUM = 65_535
"""What holds if the CONNACK names none (MQTT 5, 3.2.2.3.3)."""
DISCONNECT_WITH_WILL = 0x04
UNSUPPORTED_PROTOCOL = 0x84
CONNACK = b"\x20"
SESSION_TAKEN_OVER = 0x8E
POLL_MS = 500
# What paho's parser raises on bytes that are no MQTT; its own MalformedPacket it handles itself.
PARSE_FAULTS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    struct.error,
    MQTTException,
)


class _Client(mqtt.Client):
    """Goes through the proxy of the settings, and none of the environment (mqtt_proxy)."""

    def _get_proxy(self) -> dict[str, Any] | None:
        return self._proxy or None


class BrokerUnreachableError(PeerError):
    """No connection; the text is for the operator's log."""


class BrokerConnection:
    """One MQTT 5 connection with a thread for its socket.

    What happens is put into `signals`, then `wake` is called. `accept` decides in the socket's
    thread which messages are let in (by size): it must be quick.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        will: Announcement | None,
        signals: SimpleQueue[Signal],
        wake: Callable[[], None],
        accept: Callable[[int], bool],
        connect_options: ConnectOptions = UNIT_SESSION,
    ) -> None:
        self._settings = settings
        self._connect_options = connect_options
        self._signals = signals
        self._wake = wake
        self._accept = accept
        self._address = settings.addresses[0]
        self._end_reason = "connection closed"
        self._abandoned = False
        self._answered = False
        self._unfit = False
        self._name_taken = False
        self._unheard = False
        self._watched = ""
        self._wakeup = WakeupPipe()
        self._thread: threading.Thread | None = None
        self._client = self._new_client(client_id, will)

    # --- life ---------------------------------------------------------------------------------

    def open(self, address: BrokerAddress | None = None) -> None:
        """Connects (TCP, TLS) and sends CONNECT. `Connected` or `Lost` follows as a signal.

        Without an address it is the first of the settings.

        Raises:
            BrokerUnreachableError: address, network, certificate or secret.
        """
        settings = self._settings
        self._address = address or settings.addresses[0]
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._connect_options.expiry_s
        # A broker must not send us more (MQTT 5, 3.1.2.11.4).
        properties.MaximumPacketSize = self._connect_options.packet_limit_bytes
        if self._connect_options.receive_maximum is not None:
            properties.ReceiveMaximum = self._connect_options.receive_maximum
        try:
            if settings.tls:
                self._client.tls_set_context(tls_context(settings))
            if settings.username is not None:
                self._client.username_pw_set(settings.username, broker_password(settings))
            if proxy := proxy_arguments(settings):
                self._client.proxy_set(**proxy)
            self._client.connect(
                self._address.host,
                self._address.port,
                keepalive=settings.keepalive_s,
                clean_start=self._connect_options.expiry_s == 0,
                properties=properties,
            )
        except (OSError, UnicodeError, mqtt.WebsocketConnectionError) as error:
            self._close_sockets()
            raise BrokerUnreachableError(str(error)) from error
        self._thread = threading.Thread(target=self._serve, name="broker-socket", daemon=True)
        self._thread.start()

    def listen(self, topics: Sequence[str]) -> None:
        """Subscribes (QoS 1); `Listening` follows."""
        if self._connect_options.hear_retained:
            # No noLocal: on a shared subscription it is a protocol error (MQTT 5, 3.8.3.1).
            options = SubscribeOptions(qos=1)
        else:
            # A message that was retained there is no command of now.
            options = SubscribeOptions(
                qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND, noLocal=True
            )
        self._client.subscribe([(topic, options) for topic in topics])
        self._wakeup.ring()

    def listen_no_more(self, topics: Sequence[str]) -> None:
        """Unsubscribes: nothing more is queued for us; `Listening` follows."""
        self._client.unsubscribe(list(topics))
        self._wakeup.ring()

    def watch(self, topic: str) -> None:
        """Subscribes to one topic for what the broker has kept there; nobody is asked about it."""
        self._watched = topic
        self._client.subscribe(topic, options=SubscribeOptions(qos=1))
        self._wakeup.ring()

    def unwatch(self) -> None:
        """Ends `watch`; what is said on the topic after this is not heard."""
        self._client.unsubscribe(self._watched)
        self._wakeup.ring()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retained: bool = False,
        expiry_s: int | None = None,
    ) -> int:
        """Puts a PUBLISH on its way; its message id. `PublishAcknowledged` follows for QoS 1."""
        properties = _properties(PacketTypes.PUBLISH)
        if payload:
            self._describe(properties)
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        info = self._client.publish(topic, payload, qos, retained, properties)
        self._wakeup.ring()
        return info.mid

    def acknowledge(self, mid: int) -> None:
        """Answers a message of QoS 1, in the order in which they came (MQTT 5, 4.6)."""
        self._client.ack(mid, 1)
        self._wakeup.ring()

    def close(self, *, with_will: bool, timeout_s: float, forget: bool = False) -> None:
        """Says DISCONNECT (the will is published only `with_will`) and ends the thread.

        `forget`: the broker is to drop our session at once.
        """
        reason = ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL)
        properties = _properties(PacketTypes.DISCONNECT)
        if forget:
            properties.SessionExpiryInterval = 0
        self._client.disconnect(
            reasoncode=reason if with_will else None, properties=properties if forget else None
        )
        self._wakeup.ring()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self.abandon()

    def abandon(self) -> None:
        """Ends the connection without a DISCONNECT: the broker publishes the will."""
        self._abandoned = True
        self._wakeup.ring()
        if self._thread is not None:
            self._thread.join()
        self._close_sockets()

    # --- the socket's thread ------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while not self._abandoned and self._turn():
                pass
        except PARSE_FAULTS as error:
            self._unfit = not self._answered
            self._end_reason = f"what the broker sent is no MQTT 5 ({type(error).__name__})"
        finally:
            # However this thread ends, the publisher hears of it; a dead thread behind a live
            # socket would look like a broker that never answers.
            self._close_client_socket()
            self._say(Lost(reason=self._end_reason, name_taken=self._name_taken, unfit=self._unfit))
            self._wake()

    def _turn(self) -> bool:
        """One round of the network; False when the connection is over."""
        client = self._client
        sock = client.socket()
        if sock is None:
            return False
        # poll, not select: a control process may have more than 1024 descriptors open.
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poll.register(self._wakeup, select.POLLIN)
        # What TLS has decrypted already; paho's wrapper for websockets tells of it, too.
        pending = getattr(sock, "pending", None)
        buffered = pending is not None and pending() > 0
        ready = dict(poll.poll(0 if buffered else POLL_MS))
        if self._wakeup.fileno() in ready:
            self._wakeup.heard()
        if buffered or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._read(client)
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        if self._unheard:
            # Once for all that came together: each waking costs the listener a turn on a busy unit.
            self._unheard = False
            self._wake()
        return client.socket() is not None

    def _read(self, client: mqtt.Client) -> None:
        self._unfit = self._unfit or not (self._answered or self._begins_as_mqtt(client))
        fault = client.loop_read()
        if self._answered or self._abandoned or fault is mqtt.MQTT_ERR_SUCCESS:
            return
        if fault is mqtt.MQTT_ERR_CONN_LOST and not self._unfit:
            self._end_reason = (
                "the connection was closed before any answer: does the broker expect TLS there, or"
                " websockets, or a certificate?"
            )
        else:
            self._unfit = True
            self._end_reason = "what answers there is no MQTT 5 broker: is it the right port?"

    @staticmethod
    def _begins_as_mqtt(client: mqtt.Client) -> bool:
        """Whether the first byte is that of a CONNACK, as far as one can look ahead."""
        sock = client.socket()
        if type(sock) is not socket.socket:  # TLS and websockets have proved themselves
            return True
        with suppress(OSError):
            return sock.recv(1, socket.MSG_PEEK) in (b"", CONNACK)
        return True

    def _say(self, signal: Signal) -> None:
        self._signals.put(signal)
        self._unheard = True

    def _close_client_socket(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _close_sockets(self) -> None:
        self._close_client_socket()
        self._wakeup.close()

    def _describe(self, properties: Properties) -> None:
        if self._connect_options.content_type is not None:
            properties.PayloadFormatIndicator = 1
            properties.ContentType = self._connect_options.content_type

    # --- paho ---------------------------------------------------------------------------------

    def _new_client(self, client_id: str, will: Announcement | None) -> mqtt.Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            transport=self._settings.transport,
            reconnect_on_failure=False,
            manual_ack=self._connect_options.manual_acknowledgement,
        )
        client.max_inflight_messages = 0
        if self._settings.transport == "websockets":
            client.ws_set_options(path=self._settings.path)
        client.connect_timeout = self._settings.connect_timeout_s
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE)
            self._describe(properties)
            retained = self._connect_options.will_retained
            client.will_set(will.topic, will.payload, qos=1, retain=retained, properties=properties)
        client.on_socket_open = _without_delay
        # With this callback set paho leaves all writing to our own loop.
        client.on_socket_register_write = lambda *_: None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = client.on_unsubscribe = self._on_subscribe
        return client

    def _on_connect(
        self,
        _c: mqtt.Client,
        _u: Any,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._answered = True
        if reason.is_failure:
            self._unfit = reason.value == UNSUPPORTED_PROTOCOL
            self._end_reason = (
                "MQTT 5 is needed; this broker speaks 3.1.1 or older"
                if self._unfit
                else f"the broker refused us: {reason}"
            )
            self._abandoned = True
            return
        if getattr(properties, "MaximumQoS", 2) < 1 or not getattr(
            properties, "RetainAvailable", 1
        ):
            self._unfit = True
            self._end_reason = "the broker does not offer QoS 1 and retained messages"
            self._abandoned = True
            return
        self._say(
            Connected(
                receive_maximum=getattr(properties, "ReceiveMaximum", NO_LIMIT_RECEIVE_MAXIMUM),
                maximum_packet_bytes=getattr(properties, "MaximumPacketSize", None),
                address=str(self._address),
                session_present=flags.session_present,
            )
        )

    def _on_disconnect(
        self, _c: mqtt.Client, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if not self._abandoned:
            self._end_reason = f"connection lost: {reason}"
            self._name_taken = reason.value == SESSION_TAKEN_OVER

    def _on_publish(
        self, _c: mqtt.Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties
    ) -> None:
        self._say(PublishAcknowledged(mid=mid, reason_code=reason.value))

    def _on_message(self, _c: mqtt.Client, _u: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == self._watched:
            if message.retain and len(message.payload) <= COMMAND_LIMIT_BYTES:
                self._say(Heard(topic=message.topic, payload=bytes(message.payload), retained=True))
            return
        # rumqttd sends retained messages in spite of the subscription's retain handling.
        if message.retain and not self._connect_options.hear_retained:
            return
        answered_later = self._connect_options.manual_acknowledgement and message.qos > 0
        if answered_later or self._accept(len(message.payload)):
            self._say(
                Heard(
                    topic=message.topic,
                    payload=bytes(message.payload),
                    mid=message.mid,
                    retained=message.retain,
                    expires=getattr(message.properties, "MessageExpiryInterval", None) is not None,
                )
            )

    def _on_subscribe(
        self, _c: mqtt.Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        refusals = [str(reason) for reason in reasons if reason.is_failure]
        for refusal in refusals:
            LOG.warning("the broker does not let us listen: %s", refusal)
        self._say(Listening(refused=", ".join(refusals)))


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


def _without_delay(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
    # Small packets must not wait for the acknowledgement of the one before (Nagle, RFC 896).
    # By its descriptor: over websockets paho hands out a wrapper.
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
