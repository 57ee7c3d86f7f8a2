// What systemd and a service say to each other: readiness and life signs over $NOTIFY_SOCKET, sockets in $LISTEN_FDS. The protocol is a
// datagram of lines, and descriptors from 3 on; nothing happens where systemd (or whoever speaks it) did not start the process.
// https://www.freedesktop.org/software/systemd/man/sd_notify.html, sd_listen_fds.html, sd_watchdog_enabled.html
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/listeners.hpp"

namespace weir::proxy::systemd {

// "READY=1", "STOPPING=1", "RELOADING=1" (with its time), "STATUS=...", "MAINPID=...", "WATCHDOG=1"; lines may be combined. Any thread.
void notify(std::string_view lines);
// RELOADING=1 with the moment it began, as Type=notify-reload wants it.
void notify_reloading();

// The sockets of weir.socket; the environment forgets them. Once, at start.
[[nodiscard]] std::vector<Listener> given_listeners();

// How often at least WATCHDOG=1 is expected; zero: not at all.
[[nodiscard]] std::chrono::microseconds watchdog_interval();

// A process that takes over from another becomes the main process of its service: the environment it needs for that.
[[nodiscard]] std::string environment();
void adopt_environment(std::string_view environment);

}  // namespace weir::proxy::systemd
