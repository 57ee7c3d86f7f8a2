// Pools: every pool of the process, found by (backend, login); their maintenance; and what sharing a server's bound asks for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pool/pool.hpp"

namespace weir::pool {

class Pools final : public PoolHost {
 public:
  // `loops`: one a worker, outliving this.
  Pools(std::vector<net::Loop*> loops, unsigned login_threads);
  ~Pools() override;
  Pools(const Pools&) = delete;
  Pools& operator=(const Pools&) = delete;

  // The pool, made on first use. Any thread; callers keep the pointer rather than ask for every statement.
  [[nodiscard]] std::shared_ptr<Pool> get(const std::shared_ptr<Backend>& backend, const Credentials& credentials,
                                          const PoolSettings& settings, const LoginCheck& check,
                                          const std::vector<std::shared_ptr<Budget>>& limits = {});
  // The budget of a server ("host:port"), made on first use; its bound is set to `bound`.
  [[nodiscard]] std::shared_ptr<Budget> budget(const std::string& server, unsigned bound);
  [[nodiscard]] std::map<std::string, std::shared_ptr<Budget>> budgets() const;
  // The same of a database ("database app") or a user ("user bob") over all pools of theirs; none or 0: counted, not bounded.
  [[nodiscard]] std::shared_ptr<Budget> limit(const std::string& whose, std::optional<unsigned> bound);
  [[nodiscard]] std::map<std::string, std::shared_ptr<Budget>> limits() const;
  [[nodiscard]] std::vector<std::shared_ptr<Pool>> all() const;
  // Retires the pools whose backend `keep` refuses (RELOAD).
  void retire_unless(const std::function<bool(const Backend&)>& keep);
  // To be called from the loops' idle events.
  void idle_event(unsigned worker, std::uint64_t server_id);

  net::Loop& loop(unsigned worker) override { return *loops_[worker]; }
  unsigned workers() const override { return static_cast<unsigned>(loops_.size()); }
  Connector& connector() override { return connector_; }
  void feed(Budget& budget) override;
  bool relieve(const Budget& budget, const Pool* except) override;

 private:
  void maintain();

  std::vector<net::Loop*> loops_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Pool>> pools_;
  std::map<std::string, std::shared_ptr<Budget>> budgets_, limits_;
  std::condition_variable wake_;
  bool stopping_ = false;
  Connector connector_;
  std::thread maintenance_;
};

}  // namespace weir::pool
