#include "tokenizers/post_processor.h"

#include <algorithm>

namespace zoo::tokenizers {
namespace post_processor_detail {

void append(Encoding& out, const Encoding& text, int64_t type_id) {
  out.ids.insert(out.ids.end(), text.ids.begin(), text.ids.end());
  out.type_ids.insert(out.type_ids.end(), text.ids.size(), type_id);
  out.special.insert(out.special.end(), text.special.begin(), text.special.end());
  out.offsets.insert(out.offsets.end(), text.offsets.begin(), text.offsets.end());
  out.word_ids.insert(out.word_ids.end(), text.word_ids.begin(), text.word_ids.end());
}

void append_special(Encoding& out, int64_t id, int64_t type_id) {
  out.ids.push_back(id);
  out.type_ids.push_back(type_id);
  out.special.push_back(true);
  out.offsets.emplace_back(0, 0);
  out.word_ids.push_back(-1);
}

TemplatePiece make_text_piece(const JsonField& sequence) {
  TemplatePiece piece;
  const std::string id = sequence.at("id").string();
  if (id != "A" && id != "B") sequence.at("id").fail("\"A\" or \"B\"");
  piece.second_text = id == "B";
  piece.type_id = sequence.at("type_id").id();
  return piece;
}

TemplatePiece make_special_piece(const JsonField& special, const JsonField& known) {
  TemplatePiece piece;
  piece.type_id = special.at("type_id").id();
  for (const auto& id : known.at(special.at("id").string()).at("ids").list()) piece.ids.push_back(id.id());
  if (piece.ids.empty()) special.fail("a special token with at least one id");
  return piece;
}

std::vector<TemplatePiece> make_template(const JsonField& pieces, const JsonField& special_tokens,
                                         bool is_pair) {
  std::vector<TemplatePiece> out;
  for (const auto& piece : pieces.list()) {
    if (piece.has("Sequence")) out.push_back(make_text_piece(piece.at("Sequence")));
    else if (piece.has("SpecialToken"))
      out.push_back(make_special_piece(piece.at("SpecialToken"), special_tokens));
    else piece.fail("an object with Sequence or SpecialToken");
    if (out.back().second_text && !is_pair)
      piece.fail("Sequence A: there is no second text in the single template");
  }
  return out;
}

void read_trimming(const JsonField& part, PostProcessor& post) {
  post.trim_offsets = part.boolean_or("trim_offsets", true);
  post.add_prefix_space = part.boolean_or("add_prefix_space", true);
}

/// One layout at most, and the trimming of a byte-level part.
PostProcessor make_sequence(const JsonField& part) {
  PostProcessor out;
  bool has_layout = false;
  for (const auto& step : part.at("processors").list()) {
    PostProcessor one = make_post_processor(step);
    const bool layout = step.at("type").string() != "ByteLevel";
    if (layout && has_layout) step.fail("one layout of special tokens in a Sequence, with ByteLevel beside it");
    if (one.trim_offsets) out.trim_offsets = true, out.add_prefix_space = one.add_prefix_space;
    if (!layout) continue;
    has_layout = true;
    out.single = std::move(one.single), out.pair = std::move(one.pair);
  }
  return out;
}

/// ["[SEP]", 102]
int64_t named_id(const JsonField& entry) {
  const auto parts = entry.list();
  if (parts.size() != 2) entry.fail("[token, id]");
  return parts[1].id();
}

}  // namespace post_processor_detail

size_t PostProcessor::special_tokens(bool is_pair) const {
  size_t count = 0;
  for (const auto& piece : is_pair ? pair : single) count += piece.ids.size();
  return count;
}

Encoding PostProcessor::apply(const Encoding& first, const Encoding* second) const {
  namespace detail = post_processor_detail;
  Encoding out;
  const size_t tokens =
      first.ids.size() + (second ? second->ids.size() : 0) + special_tokens(second != nullptr);
  out.ids.reserve(tokens), out.type_ids.reserve(tokens), out.special.reserve(tokens);
  out.offsets.reserve(tokens), out.word_ids.reserve(tokens);
  for (const auto& piece : second ? pair : single) {
    if (piece.ids.empty()) detail::append(out, piece.second_text ? *second : first, piece.type_id);
    for (const int64_t id : piece.ids) detail::append_special(out, id, piece.type_id);
  }
  return out;
}

PostProcessor bert_post_processor(int64_t cls, int64_t sep) {
  PostProcessor post;
  post.single = {{{cls}, false, 0}, {{}, false, 0}, {{sep}, false, 0}};
  post.pair = {{{cls}, false, 0}, {{}, false, 0}, {{sep}, false, 0}, {{}, true, 1}, {{sep}, false, 1}};
  return post;
}

PostProcessor roberta_post_processor(int64_t cls, int64_t sep) {
  PostProcessor post;
  post.single = {{{cls}, false, 0}, {{}, false, 0}, {{sep}, false, 0}};
  post.pair = {{{cls}, false, 0}, {{}, false, 0}, {{sep}, false, 0}, {{sep}, false, 0}, {{}, true, 0}, {{sep}, false, 0}};
  return post;
}

PostProcessor make_post_processor(const JsonField& part) {
  namespace detail = post_processor_detail;
  const std::string type = part.at("type").string();
  if (type == "BertProcessing") {
    return bert_post_processor(detail::named_id(part.at("cls")), detail::named_id(part.at("sep")));
  }
  if (type == "TemplateProcessing") {
    PostProcessor post;
    const auto special_tokens = part.at("special_tokens");
    post.single = detail::make_template(part.at("single"), special_tokens, false);
    post.pair = detail::make_template(part.at("pair"), special_tokens, true);
    return post;
  }
  if (type == "RobertaProcessing") {
    auto post = roberta_post_processor(detail::named_id(part.at("cls")), detail::named_id(part.at("sep")));
    detail::read_trimming(part, post);
    return post;
  }
  if (type == "ByteLevel") {
    PostProcessor post;
    detail::read_trimming(part, post);
    return post;
  }
  if (type == "Sequence") return detail::make_sequence(part);
  fail_unsupported(part, type, "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing");
}

}  // namespace zoo::tokenizers
