// scatter_wall: how long a statement over all shards takes through Weir, and how long the same shards' statements take when plain libpq sends
// them to all shards at once.
//
//   scatter_wall <rounds> <statement> <statement of a shard> <conninfo of Weir> <conninfo of a shard>...
//
// The two take turns. Prints the medians in microseconds: "<Weir> <libpq>". Both read every row to the end.
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, Finish>;
using Answer = std::unique_ptr<PGresult, Finish>;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "scatter_wall: %s\n", what.c_str());
  std::exit(2);
}

Connection open(const char* conninfo) {
  Connection made(PQconnectdb(conninfo));
  if (PQstatus(made.get()) != CONNECTION_OK) fail(PQerrorMessage(made.get()));
  return made;
}

// Takes what has come; true: nothing more is to come.
bool advance(PGconn* connection, int& rows) {
  if (PQconsumeInput(connection) == 0) fail(PQerrorMessage(connection));
  while (PQisBusy(connection) == 0) {
    const Answer answer(PQgetResult(connection));
    if (!answer) return true;
    if (PQresultStatus(answer.get()) != PGRES_TUPLES_OK) fail(PQresultErrorMessage(answer.get()));
    rows += PQntuples(answer.get());
  }
  return false;
}

// The statement on all connections at once, until all have answered.
int ask(const std::vector<Connection>& connections, const char* sql) {
  std::vector<pollfd> waits;
  for (const Connection& c : connections) {
    if (PQsendQuery(c.get(), sql) == 0) fail(PQerrorMessage(c.get()));
    waits.push_back({PQsocket(c.get()), POLLIN, 0});
  }
  int rows = 0;
  std::size_t left = connections.size();
  while (left > 0) {
    if (poll(waits.data(), waits.size(), 60'000) <= 0) fail("no answer in a minute");
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].fd < 0 || waits[i].revents == 0 || !advance(connections[i].get(), rows)) continue;
      waits[i].fd = -1;   // poll() passes over it
      --left;
    }
  }
  return rows;
}

double timed(const std::vector<Connection>& connections, const char* sql) {
  const auto begin = std::chrono::steady_clock::now();
  if (ask(connections, sql) == 0) fail("no rows");
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double>& of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) fail("usage: scatter_wall <rounds> <statement> <statement of a shard> <conninfo of Weir> <conninfo of a shard>...");
  std::vector<Connection> weir, shards;
  weir.push_back(open(argv[4]));
  for (int i = 5; i < argc; ++i) shards.push_back(open(argv[i]));
  std::vector<double> through, plain;
  for (int i = std::atoi(argv[1]) + 5; i > 0; --i) {
    through.push_back(timed(weir, argv[2]));
    plain.push_back(timed(shards, argv[3]));
  }
  for (auto* times : {&through, &plain}) times->erase(times->begin(), times->begin() + 5);   // caches are warm now
  std::printf("%.0f %.0f\n", median(through), median(plain));
}
