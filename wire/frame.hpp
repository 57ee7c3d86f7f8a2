// Framing of protocol 3.0: where messages begin and end, without decoding them. No sockets, no allocation.
// https://www.postgresql.org/docs/15/protocol-message-formats.html
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"

namespace weir::wire {

// The largest length word accepted: PostgreSQL's own limit of a message is 1 GB - 1 (PQ_LARGE_MESSAGE_LIMIT).
inline constexpr std::uint32_t kMaxLength = 0x3fffffff;
// Before authentication (PG_MAX_AUTH_TOKEN_LENGTH, MAX_STARTUP_PACKET_LENGTH).
inline constexpr std::uint32_t kMaxAuthLength = 65535;
inline constexpr std::uint32_t kMaxStartupLength = 10000;
inline constexpr std::size_t kHeader = 5;  // type byte and length word

inline std::uint32_t load32(const std::uint8_t* p) noexcept {
  return static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
         static_cast<std::uint32_t>(p[2]) << 8 | p[3];
}
inline std::uint16_t load16(const std::uint8_t* p) noexcept { return static_cast<std::uint16_t>(p[0] << 8 | p[1]); }

// One complete message in a buffer: type, and its body without the header.
struct Message {
  char type = 0;
  ByteView body;
  ByteView whole;  // header included
};

enum class FrameStatus : std::uint8_t { message, incomplete, bad_length };

// The next message at the front of `bytes`. incomplete: `needed` is the whole message's size once its
// header is there, else kHeader. bad_length: a length word below 4 or above `max_length`.
struct Frame {
  FrameStatus status = FrameStatus::incomplete;
  Message message;
  std::size_t needed = kHeader;
};
[[nodiscard]] inline Frame next_message(ByteView bytes, std::uint32_t max_length = kMaxLength) noexcept {
  Frame f;
  if (bytes.size() < kHeader) return f;
  const std::uint32_t length = load32(bytes.data() + 1);
  if (length < 4 || length > max_length) {
    f.status = FrameStatus::bad_length;
    return f;
  }
  f.needed = std::size_t{1} + length;
  if (bytes.size() < f.needed) {
    f.message.type = static_cast<char>(bytes[0]);
    return f;
  }
  f.status = FrameStatus::message;
  f.message = {static_cast<char>(bytes[0]), bytes.subspan(kHeader, length - 4), bytes.first(f.needed)};
  return f;
}

// Follows a stream across chunk boundaries without keeping its bytes: for forwarding server output and COPY data.
// Small bodies (ReadyForQuery, ErrorResponse ...) that a visitor wants whole are gathered by the caller.
class FrameScanner {
 public:
  // Is the stream between two messages?
  [[nodiscard]] bool at_boundary() const noexcept { return left_ == 0 && header_used_ == 0; }
  [[nodiscard]] char type() const noexcept { return type_; }
  // Bytes of the current message's body still to come.
  [[nodiscard]] std::uint32_t left() const noexcept { return left_; }

  enum class Step : std::uint8_t { need_more, header, body, bad_length };
  // Consumes from the front of `bytes`, at most up to the end of one header or one body part.
  // header: type() and left() are those of a new message. body: `part` is the next part of the body; the message is
  // over when left() == 0.
  struct Item {
    Step step = Step::need_more;
    ByteView part;
  };
  // bad_length is final: every later call answers it again.
  Item next(ByteView& bytes, std::uint32_t max_length = kMaxLength) noexcept {
    if (left_ != 0) {
      if (bytes.empty()) return {};
      const ByteView part = bytes.first(std::min<std::size_t>(left_, bytes.size()));
      left_ -= static_cast<std::uint32_t>(part.size());
      bytes = bytes.subspan(part.size());
      return {Step::body, part};
    }
    if (header_used_ == 0 && bytes.size() >= kHeader) {
      const std::uint32_t length = load32(bytes.data() + 1);
      if (length >= 4 && length <= max_length) {
        type_ = static_cast<char>(bytes[0]);
        left_ = length - 4;
        bytes = bytes.subspan(kHeader);
        return {Step::header, {}};
      }
    }
    return gather_header(bytes, max_length);
  }
  // Skips up to `n` body bytes already dealt with by the caller.
  void skip(std::uint32_t n) noexcept { left_ -= n < left_ ? n : left_; }
  void reset() noexcept { *this = FrameScanner{}; }

 private:
  // The rare cases: a header cut by the end of a chunk, and bad lengths.
  Item gather_header(ByteView& bytes, std::uint32_t max_length) noexcept;

  std::uint32_t left_ = 0;
  std::uint8_t header_[kHeader] = {};
  std::uint8_t header_used_ = 0;
  char type_ = 0;
};

}  // namespace weir::wire
