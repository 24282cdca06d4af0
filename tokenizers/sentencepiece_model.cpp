#include "tokenizers/sentencepiece_model.h"

#include <cstring>
#include <stdexcept>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace sentencepiece_model_detail {

/// Reads the fields of one protocol-buffer message.
class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}

  /// False at the end. Then number() and one of the values describe a field.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    number_ = tag >> 3;
    value_ = 0;
    text_ = {};
    switch (tag & 7) {
      case 0: value_ = varint(); break;
      case 1: text_ = take(8); break;
      case 2: text_ = take(varint()); break;
      case 5: text_ = take(4); break;
      default: throw std::runtime_error("not a SentencePiece model: field type " + std::to_string(tag & 7) + " at byte " + std::to_string(at_));
    }
    return true;
  }
  uint64_t number() const { return number_; }
  uint64_t value() const { return value_; }
  std::string_view text() const { return text_; }
  float real() const {
    float out = 0;
    if (text_.size() == sizeof out) std::memcpy(&out, text_.data(), sizeof out);
    return out;
  }

 private:
  uint64_t varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) break;
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      out |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return out;
    }
    throw std::runtime_error("not a SentencePiece model, or cut short at byte " + std::to_string(at_));
  }
  std::string_view take(uint64_t bytes) {
    if (bytes > bytes_.size() - at_) {
      throw std::runtime_error("not a SentencePiece model, or cut short: a field of " + std::to_string(bytes) + " bytes where " +
                               std::to_string(bytes_.size() - at_) + " are left");
    }
    const auto out = bytes_.substr(at_, bytes);
    at_ += bytes;
    return out;
  }

  std::string_view bytes_;
  size_t at_ = 0;
  uint64_t number_ = 0, value_ = 0;
  std::string_view text_;
};

SentencePieceModel::Piece read_piece(std::string_view bytes) {
  SentencePieceModel::Piece piece;
  for (Message field(bytes); field.next();) {
    if (field.number() == 1) piece.text = field.text();
    if (field.number() == 2) piece.score = field.real();
    if (field.number() == 3) piece.type = static_cast<uint32_t>(field.value());
  }
  if (piece.text.empty() || !is_valid_utf8(piece.text)) throw std::runtime_error("a piece of the vocabulary is empty or not UTF-8");
  return piece;
}

void read_trainer(std::string_view bytes, SentencePieceModel& model) {
  for (Message field(bytes); field.next();) {
    switch (field.number()) {
      case 3: model.kind = static_cast<uint32_t>(field.value()); break;
      case 24: model.whitespace_as_suffix = field.value() != 0; break;
      case 35: model.byte_fallback = field.value() != 0; break;
      case 40: model.unk_id = static_cast<uint32_t>(field.value()); break;
      case 41: model.bos_id = static_cast<int32_t>(field.value()); break;
      case 42: model.eos_id = static_cast<int32_t>(field.value()); break;
      case 43: model.pad_id = static_cast<int32_t>(field.value()); break;
      case 44: model.unk_surface = field.text(); break;
      default: break;
    }
  }
}

void read_normalizer(std::string_view bytes, SentencePieceModel& model) {
  for (Message field(bytes); field.next();) {
    if (field.number() == 2) model.charsmap = field.text();
    if (field.number() == 3) model.add_dummy_prefix = field.value() != 0;
    if (field.number() == 4) model.remove_extra_whitespaces = field.value() != 0;
    if (field.number() == 5) model.escape_whitespaces = field.value() != 0;
  }
}

}  // namespace sentencepiece_model_detail

SentencePieceModel parse_sentencepiece(std::string_view file) {
  namespace detail = sentencepiece_model_detail;
  SentencePieceModel model;
  for (detail::Message field(file); field.next();) {
    if (field.number() == 1) model.pieces.push_back(detail::read_piece(field.text()));
    if (field.number() == 2) detail::read_trainer(field.text(), model);
    if (field.number() == 3) detail::read_normalizer(field.text(), model);
  }
  if (model.pieces.empty()) throw std::runtime_error("no pieces in it; expected a SentencePiece model");
  return model;
}

}  // namespace zoo::tokenizers
