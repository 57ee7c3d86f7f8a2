#include "proxy/survey.hpp"

#include <condition_variable>
#include <mutex>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {

// Shared with the workers: one that answers late finds nobody waiting, and no dangling reference.
struct Gathering {
  std::mutex mutex;
  std::condition_variable all_there;
  Survey result;
  std::vector<bool> answered;
  unsigned missing = 0;
};

void look_at(Worker& worker, Survey& seen) {
  worker.for_each_session([&](Session& session) {
    const WorkerDatabase* database = session.database();
    ++seen.clients[database ? database->counted_as() : std::string{}][static_cast<std::size_t>(session.client_state())];
    if (const pool::Backend* backend = session.pinned_backend()) ++seen.pinned[labels_of(*backend)];
  });
  worker.for_each_database([&](const WorkerDatabase& database) {
    seen.clients.try_emplace(database.counted_as());
    for (const router::Router* router : {database.router.get(), database.observer.get()}) {
      if (!router) continue;
      const router::CacheCounters& c = router->counters();
      Survey::PlanCache& sum = seen.plan_caches[database.counted_as()];
      sum = {sum.hits + c.hits, sum.misses + c.misses, sum.evictions + c.evictions, sum.entries + c.entries, sum.bytes + c.bytes};
    }
  });
}

void merge(const Survey& seen, Survey& into) {
  for (const auto& [name, counts] : seen.clients)
    for (std::size_t i = 0; i < counts.size(); ++i) into.clients[name][i] += counts[i];
  for (const auto& [labels, n] : seen.pinned) into.pinned[labels] += n;
  for (const auto& [name, c] : seen.plan_caches) {
    Survey::PlanCache& sum = into.plan_caches[name];
    sum = {sum.hits + c.hits, sum.misses + c.misses, sum.evictions + c.evictions, sum.entries + c.entries, sum.bytes + c.bytes};
  }
}

}  // namespace

BackendLabels labels_of(const pool::Backend& backend) {
  return {backend.counted_as(), backend.id().shard_name, concat(backend.host(), ":", backend.port()), backend.id().role};
}

Survey survey(Proxy& proxy, Duration patience) {
  const auto gathering = std::make_shared<Gathering>();
  gathering->missing = static_cast<unsigned>(proxy.workers().size());
  gathering->answered.resize(proxy.workers().size());
  for (auto& worker : proxy.workers())
    worker->loop().post([gathering, w = worker.get()] {
      Survey seen;
      look_at(*w, seen);
      std::lock_guard lock(gathering->mutex);
      merge(seen, gathering->result);
      gathering->answered[w->index()] = true;
      if (--gathering->missing == 0) gathering->all_there.notify_all();
    });
  std::unique_lock lock(gathering->mutex);
  gathering->all_there.wait_for(lock, patience, [&] { return gathering->missing == 0; });
  Survey result = gathering->result;
  for (unsigned w = 0; w < gathering->answered.size(); ++w)
    if (!gathering->answered[w]) result.silent.push_back(w);
  return result;
}

}  // namespace weir::proxy
