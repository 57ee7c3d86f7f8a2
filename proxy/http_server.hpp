// HttpServer: the few read-only pages of admin.http, on threads of civetweb's. GET and HEAD only, no keep-alive, nothing is read from disk.
//
// Bounded: four requests at once, sixteen more wait, a request's header has 8 KB and ten seconds; a slow client costs one of the four
// threads until then and never a worker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.hpp"

struct mg_context;

namespace weir::proxy {

struct HttpAnswer {
  int status = 200;
  std::string body;
  std::string type = "text/plain; charset=utf-8";
};

class HttpServer {
 public:
  // Called on the server's threads, several at once.
  using Handler = std::function<HttpAnswer()>;

  // `address`: "host:port" (host: a name or number; "*" or empty: every address). `pages`: by path, exact. Serves until destroyed.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& address, std::map<std::string, Handler> pages);
  ~HttpServer();   // waits for the requests that run
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // What a request gets: the page, or 404 and 405.
  [[nodiscard]] HttpAnswer answer(const std::string& method, const std::string& path) const;

 private:
  explicit HttpServer(std::map<std::string, Handler> pages) : pages_(std::move(pages)) {}

  const std::map<std::string, Handler> pages_;
  mg_context* context_ = nullptr;
};

}  // namespace weir::proxy
