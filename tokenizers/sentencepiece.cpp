// SentencePiece models in the conventions of transformers 5 (T5, ALBERT, XLM-RoBERTa, mBART: ids moved, words cut at white
// space first) and, without such a class, in SentencePiece's own.
#include <algorithm>
#include <array>
#include <stdexcept>

#include "tokenizers/bpe.h"
#include "tokenizers/byte_trie.h"
#include "tokenizers/readers.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/sentencepiece_text.h"
#include "tokenizers/tokenizer_config.h"
#include "tokenizers/unigram.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace sentencepiece_detail {

constexpr size_t kSentinels = 100;
constexpr size_t kMostMergeBytes = size_t{1} << 30;
constexpr std::array kLanguages = {"ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN",
                                   "hi_IN", "it_IT", "ja_XX", "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP",
                                   "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN", "zh_CN"};
const SpecialNames kT5Names{"<pad>", "<unk>", "", "", "", "", "</s>"};
const SpecialNames kAlbertNames{"<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "[CLS]", "[SEP]"};
const SpecialNames kRobertaNames{"<pad>", "<unk>", "<s>", "</s>", "<mask>", "<s>", "</s>"};

enum class Convention { t5, albert, xlm_roberta, mbart, plain };

Convention convention_of(const std::string& name, const std::filesystem::path& path) {
  if (name.starts_with("T5") || name.starts_with("MT5")) return Convention::t5;
  if (name.starts_with("Albert")) return Convention::albert;
  if (name.starts_with("XLMRoberta")) return Convention::xlm_roberta;
  if (name == "MBartTokenizer") return Convention::mbart;
  if (!name.empty() && name != "PreTrainedTokenizer" && name != "TokenizersBackend") {
    throw std::runtime_error("tokenizer_class is " + name + ", whose use of SentencePiece models is not known; supported: T5Tokenizer, "
                             "AlbertTokenizer, XLMRobertaTokenizer, MBartTokenizer (or save the tokenizer as tokenizer.json)");
  }
  if (path.filename() == "sentencepiece.bpe.model") return Convention::xlm_roberta;
  return path.filename() == "spiece.model" ? Convention::t5 : Convention::plain;
}

const SpecialNames& names_of(Convention convention) {
  static const SpecialNames none;
  if (convention == Convention::t5) return kT5Names;
  if (convention == Convention::albert) return kAlbertNames;
  return convention == Convention::plain ? none : kRobertaNames;
}

/// The pieces under the ids that the network was trained with.
std::vector<Unigram::Piece> moved_pieces(const SentencePieceModel& model, Convention convention, const TokenizerConfig& config) {
  std::vector<Unigram::Piece> out;
  const bool fairseq = convention == Convention::xlm_roberta || convention == Convention::mbart;
  if (fairseq)  // one more special token than SentencePiece put in front, in another order
    for (const auto& name : {config.names.bos, config.names.pad, config.names.eos, config.names.unk}) out.push_back({name, 0});
  for (size_t i = fairseq ? 3 : 0; i < model.pieces.size(); ++i) out.push_back({model.pieces[i].text, model.pieces[i].score});
  if (convention == Convention::t5)
    for (size_t i = config.extra_ids.value_or(kSentinels); i-- > 0;) out.push_back({"<extra_id_" + std::to_string(i) + ">", 0});
  if (convention == Convention::mbart)
    for (const char* language : kLanguages) out.push_back({language, 0});
  if (fairseq) out.push_back({config.names.mask, 0});
  return out;
}

std::unique_ptr<Normalizer> normalizer_of(const SentencePieceModel& model, Convention convention, const TokenizerConfig& config) {
  auto sequence = std::make_unique<NormalizerSequence>();
  if (convention == Convention::albert) {
    sequence->steps.push_back(replace_literal("``", U"\""));
    sequence->steps.push_back(replace_literal("''", U"\""));
    if (!config.keep_accents.value_or(false)) {
      auto form = std::make_unique<UnicodeForm>();
      form->compatibility = true;
      sequence->steps.push_back(std::move(form));
      sequence->steps.push_back(std::make_unique<StripAccents>());
    }
    if (config.do_lower_case.value_or(true)) sequence->steps.push_back(std::make_unique<Lowercase>());
  }
  if (!model.charsmap.empty() && convention != Convention::mbart) {  // transformers 5 leaves mBART's table out
    auto precompiled = std::make_unique<Precompiled>();
    precompiled->map = std::make_shared<CharsMap>(model.charsmap);
    sequence->steps.push_back(std::move(precompiled));
  }
  return sequence;
}

AddedToken special(const std::string& content, bool lstrip = false) { return {content, false, lstrip, false, /*normalized=*/false, /*special=*/true}; }

void add_special(Pipeline::Parts& parts, const SentencePieceModel& model, Convention convention, const TokenizerConfig& config) {
  const auto add = [&](const AddedToken& token) { parts.added.add(token, *parts.model, parts.normalizer.get()); };
  for (const auto& token : config.added) add(token);
  const auto& n = config.names;
  for (const auto& name : {n.bos, n.eos, n.unk, n.sep, n.pad, n.cls}) add(special(name));
  add(special(n.mask, convention == Convention::mbart));
  for (const auto& piece : model.pieces)
    if (piece.type == SentencePieceModel::control || piece.type == SentencePieceModel::user_defined) add(special(piece.text));
  if (convention == Convention::mbart)
    for (const char* language : kLanguages) add(special(language));
  if (convention == Convention::t5)
    for (size_t i = 0; i < config.extra_ids.value_or(kSentinels); ++i) add(special("<extra_id_" + std::to_string(i) + ">"));
}

/// Special tokens before, between and behind the texts; all of type 0 but ALBERT's second text.
PostProcessor layout_of(Convention convention, const TokenizerConfig& config, const AddedTokens& added) {
  const auto token = [&](const std::string& name) {
    const auto id = added.find(name);
    if (!id) throw std::runtime_error("the vocabulary has no token \"" + name + "\"");
    return TemplatePiece{{*id}, false, 0};
  };
  const TemplatePiece first{{}, false, 0}, second{{}, true, 0};
  PostProcessor post;
  if (convention == Convention::albert) return bert_post_processor(token(config.names.cls).ids[0], token(config.names.sep).ids[0]);
  const auto end = token(config.names.eos);
  if (convention == Convention::t5) {
    post.single = {first, end};
    post.pair = {first, end, second, end};
  } else if (convention == Convention::mbart) {
    const auto language = token(config.source_language.empty() ? "en_XX" : config.source_language);
    post.single = {first, end, language};
    post.pair = {first, second, end, language};
  } else {
    const auto begin = token(config.names.bos);
    post.single = {begin, first, end};
    post.pair = {begin, first, end, end, second, end};
  }
  return post;
}

/// T5, ALBERT, XLM-RoBERTa, mBART: white space cuts, then each word starts with the mark.
Pipeline::Parts moved(const SentencePieceModel& model, Convention convention, const TokenizerConfig& config) {
  Pipeline::Parts parts;
  if (model.kind != SentencePieceModel::unigram)
    throw std::runtime_error("the model is of type " + std::to_string(model.kind) + " (2 BPE, 3 words, 4 characters); this tokenizer class takes unigram models, type 1");
  const uint32_t unk_id = convention == Convention::t5 ? 2 : convention == Convention::albert ? 1 : 3;
  parts.model = std::make_unique<Unigram>(moved_pieces(model, convention, config), unk_id, false);
  parts.normalizer = normalizer_of(model, convention, config);
  auto sequence = std::make_unique<PreTokenizerSequence>();
  auto metaspace = std::make_unique<Metaspace>();
  const bool marks = convention == Convention::t5 || convention == Convention::mbart || config.add_prefix_space.value_or(true);
  if (!marks) metaspace->prepend = Metaspace::Prepend::never;
  sequence->steps.push_back(std::make_unique<WhitespaceSplit>());
  sequence->steps.push_back(std::move(metaspace));
  parts.pre_tokenizer = std::move(sequence);
  auto decoder = std::make_unique<MetaspaceDecoder>();
  decoder->drops_first = marks;
  parts.decoder = std::move(decoder);
  add_special(parts, model, convention, config);
  parts.post_processor = layout_of(convention, config, parts.added);
  return parts;
}

/// SentencePiece joins the two neighbours whose union has the best score; here each way to make a piece is a merge.
Bpe::Merges merges_of(const SentencePieceModel& model) {
  using Way = std::pair<std::string, std::string>;
  std::vector<std::pair<float, Way>> ways;
  StringTable known;
  known.reserve(model.pieces.size());
  for (const auto& piece : model.pieces) known.insert(piece.text, 0);
  size_t bytes = 0;
  for (const auto& piece : model.pieces) {
    if (piece.type != SentencePieceModel::normal) continue;
    const std::string_view text = piece.text;
    for (size_t i = decode_char(text, 0).bytes; i < text.size(); i += decode_char(text, i).bytes) {
      const auto left = text.substr(0, i), right = text.substr(i);
      if (known.find(left) == StringTable::kNone || known.find(right) == StringTable::kNone) continue;
      bytes += text.size() + sizeof(Way);
      if (bytes > kMostMergeBytes) throw std::runtime_error("its pieces can be made of each other in too many ways (is it damaged?)");
      ways.push_back({piece.score, {std::string(left), std::string(right)}});
    }
  }
  std::stable_sort(ways.begin(), ways.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  Bpe::Merges merges;
  for (auto& way : ways) merges.push_back(std::move(way.second));
  return merges;
}

std::unique_ptr<Model> plain_unigram(const SentencePieceModel& model) {
  std::vector<Unigram::Piece> pieces;
  for (const auto& piece : model.pieces) {
    Unigram::Piece out{piece.text, piece.score, piece.type == SentencePieceModel::normal, true};
    if (piece.type == SentencePieceModel::user_defined) {  // better than any probability, the longer the better
      out.score = static_cast<float>(0.1 * (static_cast<double>(piece.text.size()) - 1));
    } else if (piece.type != SentencePieceModel::normal) {
      out.in_text = false;
    }
    pieces.push_back(std::move(out));
  }
  auto unigram = std::make_unique<Unigram>(std::move(pieces), model.unk_id, model.byte_fallback);
  unigram->follow_sentencepiece();
  return unigram;
}

std::vector<std::string> user_defined(const SentencePieceModel& model) {
  std::vector<std::string> out;
  for (const auto& piece : model.pieces)
    if (piece.type == SentencePieceModel::user_defined) out.push_back(piece.text);
  return out;
}

/// Symbols of the user's own stay whole in BPE models; of several the longest counts.
std::unique_ptr<PreTokenizer> around(std::vector<std::string> symbols) {
  std::vector<std::pair<std::string_view, uint32_t>> entries;
  for (const auto& symbol : symbols) entries.emplace_back(symbol, 0);
  auto split = std::make_unique<Split>();
  split->delimiter = Delimiter::isolated;
  split->find = [trie = ByteTrie(entries)](std::string_view text, std::vector<Span>& matches) {
    for (size_t i = 0; i < text.size();) {
      size_t bytes = 0;
      trie.prefixes(text.substr(i), [&](size_t length, uint32_t) { bytes = length; });
      if (bytes > 0) matches.push_back({i, i + bytes});
      i += bytes > 0 ? bytes : decode_char(text, i).bytes;
    }
  };
  return split;
}

std::unique_ptr<Model> plain_model(const SentencePieceModel& model) {
  if (model.kind == SentencePieceModel::unigram || model.kind == SentencePieceModel::character) return plain_unigram(model);
  if (model.kind != SentencePieceModel::bpe)
    throw std::runtime_error("the model is of type " + std::to_string(model.kind) + " (3: whole words); supported are unigram, BPE and character models");
  std::vector<std::pair<std::string, uint32_t>> vocab;
  for (const auto& piece : model.pieces) vocab.emplace_back(piece.text, static_cast<uint32_t>(vocab.size()));
  Bpe::Options options;
  options.unk_token = model.pieces.at(model.unk_id).text;
  options.fuse_unk = true;
  options.byte_fallback = model.byte_fallback;
  options.always_whole = user_defined(model);
  return std::make_unique<Bpe>(std::move(vocab), merges_of(model), std::move(options));
}

/// SentencePiece itself: no special tokens in the text, none around it unless the files ask for them.
Pipeline::Parts plain(const SentencePieceModel& model, const TokenizerConfig& config) {
  if (model.unk_id >= model.pieces.size()) throw std::runtime_error("unk_id is " + std::to_string(model.unk_id) + "; there are " + std::to_string(model.pieces.size()) + " pieces");
  Pipeline::Parts parts;
  const auto text_of = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < model.pieces.size() ? model.pieces[static_cast<size_t>(id)].text : ""; };
  if (parts.names.bos.empty()) parts.names.bos = text_of(model.bos_id);
  if (parts.names.eos.empty()) parts.names.eos = text_of(model.eos_id);
  if (parts.names.pad.empty()) parts.names.pad = text_of(model.pad_id);
  parts.names.unk = text_of(static_cast<int32_t>(model.unk_id));
  parts.model = plain_model(model);
  parts.normalizer = std::make_unique<SentencePieceText>(model);
  // No pre-tokenizer for unigram models: rounding runs through the whole text there, and decides ties.
  if (model.kind == SentencePieceModel::bpe) parts.pre_tokenizer = around(user_defined(model));
  if (model.byte_fallback)
    for (const auto& piece : model.pieces) parts.byte_pieces.push_back(piece.type == SentencePieceModel::byte);
  parts.decoder = std::make_unique<SentencePieceDecoder>(model);
  for (size_t id = 0; id < model.pieces.size(); ++id)
    if (model.pieces[id].type == SentencePieceModel::control) parts.added.mark_special(model.pieces[id].text, static_cast<uint32_t>(id));
  const auto end = [&](const std::string& name) { return TemplatePiece{{parts.model->token_to_id(name).value()}, false, 0}; };
  if (config.add_bos_token.value_or(false) && parts.model->token_to_id(parts.names.bos)) parts.post_processor.single.insert(parts.post_processor.single.begin(), end(parts.names.bos));
  if (config.add_eos_token.value_or(false) && parts.model->token_to_id(parts.names.eos)) parts.post_processor.single.push_back(end(parts.names.eos));
  for (const auto& token : config.added) parts.added.add(token, *parts.model, parts.normalizer.get());
  return parts;
}

}  // namespace sentencepiece_detail

std::unique_ptr<Tokenizer> read_sentencepiece(const std::filesystem::path& path) {
  namespace detail = sentencepiece_detail;
  try {
    const auto folder = path.parent_path();
    const auto convention = detail::convention_of(tokenizer_class_of(folder), path);
    const TokenizerConfig config = read_tokenizer_config(folder, detail::names_of(convention));
    const auto model = parse_sentencepiece(read_text_file(path));
    auto parts = convention == detail::Convention::plain ? detail::plain(model, config) : detail::moved(model, convention, config);
    if (convention != detail::Convention::plain) parts.names = config.names;
    parts.model_max_length = config.model_max_length;
    parts.truncate_left = config.truncate_left;
    return std::make_unique<Pipeline>(std::move(parts));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

}  // namespace zoo::tokenizers
