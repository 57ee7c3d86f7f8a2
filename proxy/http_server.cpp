#include "proxy/http_server.hpp"

#include <civetweb.h>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::proxy {

namespace {

// civetweb's "listening_ports": "127.0.0.1:9632", "[::1]:9632", "9632".
std::string listening_port(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return address;
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.empty() || host == "*") return port;
  if (host.find(':') != std::string::npos && host.front() != '[') host = concat("[", host, "]");
  return concat(host, ":", port);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 500: return "Internal Server Error";
    default: return "Service Unavailable";
  }
}

int on_request(mg_connection* connection, void* server) {
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string method = request->request_method ? request->request_method : "";
  const HttpAnswer a = static_cast<const HttpServer*>(server)->answer(method, request->local_uri ? request->local_uri : "");
  const std::string head = concat("HTTP/1.1 ", std::to_string(a.status), " ", reason_phrase(a.status), "\r\nContent-Type: ", a.type,
                                  "\r\nContent-Length: ", std::to_string(a.body.size()),
                                  "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n");
  mg_write(connection, head.data(), head.size());
  if (method != "HEAD") mg_write(connection, a.body.data(), a.body.size());
  return a.status;
}

int on_log(const mg_connection*, const char* message) {
  log::debug(concat("admin.http: ", message));
  return 1;   // not to civetweb's own stderr
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& address, std::map<std::string, Handler> pages) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(pages)));
  const std::string port = listening_port(address);
  const char* options[] = {"listening_ports", port.c_str(), "num_threads", "4", "connection_queue", "16", "request_timeout_ms", "10000",
                           "max_request_size", "8192", "enable_keep_alive", "no", "linger_timeout_ms", "1000", nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = on_log;
  mg_init_library(0);
  server->context_ = mg_start(&callbacks, server.get(), options);
  if (!server->context_) {
    mg_exit_library();
    return Error(sqlstate::kConfigFile, concat("admin.http: cannot listen on \"", address, "\""),
                 "Is the port taken, or the address not this machine's? It is \"host:port\".");
  }
  mg_set_request_handler(server->context_, "**", on_request, server.get());
  return server;
}

HttpServer::~HttpServer() {
  if (!context_) return;
  mg_stop(context_);
  mg_exit_library();
}

HttpAnswer HttpServer::answer(const std::string& method, const std::string& path) const {
  if (method != "GET" && method != "HEAD") return {405, "only GET and HEAD are answered here\n"};
  const auto page = pages_.find(path);
  if (page == pages_.end()) return {404, "no such page; there are / /metrics /healthz /readyz\n"};
  try {
    return page->second();
  } catch (const std::exception& e) {
    log::error(concat("admin.http: ", path, ": ", e.what()));
    return {500, "the page could not be made; see Weir's log\n"};
  }
}

}  // namespace weir::proxy
