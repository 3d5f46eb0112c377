"""Writes vectors.json and stems.json beside this file, from the reference packages named in them.

    python3 -m venv v && v/bin/pip install sacrebleu==2.6.0 rouge-score==0.1.2 nltk==3.10.4
    v/bin/python generate.py

It is run by hand when a case is added; the tests read only the JSON.
The sentences are our own, apart from the three of the sacreBLEU README.
"""
import collections
import json
import os
import random
import re
import string
from importlib.metadata import version

from nltk.stem.porter import PorterStemmer
from nltk.translate.gleu_score import corpus_gleu, sentence_gleu
from nltk.translate.meteor_score import meteor_score
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.bleu import _get_tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
LONG_A = " ".join(
    f"Step {i}: the {['pump', 'valve', 'sensor', 'filter', 'motor'][i % 5]} was {['checked', 'replaced', 'cleaned', 'tested'][i % 4]} at {i % 24}:{(i * 7) % 60:02d}, pressure {i * 1.25:.2f} bar."
    for i in range(60))
LONG_B = " ".join(
    f"Step {i}: the {['pump', 'valve', 'gauge', 'filter', 'motor'][i % 5]} was {['checked', 'repaired', 'cleaned'][i % 3]} at {i % 24}:{(i * 7) % 60:02d}, pressure {i * 1.2:.2f} bar."
    for i in range(55))

# (name, hypothesis, references)
PAIRS = [
    ("identical", "The harbour pilot boarded the ship before dawn.", ["The harbour pilot boarded the ship before dawn."]),
    ("identical-one-word", "Yes", ["Yes"]),
    ("identical-two-words", "Good morning", ["Good morning"]),
    ("disjoint", "Blue kites drift slowly", ["Rent is due on Friday"]),
    ("empty-hypothesis", "", ["Something was expected here."]),
    ("empty-reference", "An answer nobody asked for.", [""]),
    ("both-empty", "", [""]),
    ("blank", "  \n\t ", [" \n "]),
    ("only-punctuation", "?!...", ["?!..."]),
    ("only-articles", "the a an", ["The"]),
    ("case", "THE RIVER Rose Overnight", ["the river rose overnight"]),
    ("order", "at night the owls hunt in the barn", ["in the barn the owls hunt at night"]),
    ("repeat-hyp", "the the the the the the the", ["the cat is on the mat"]),
    ("repeat-both", "go go go stop go go", ["go go stop go go go go"]),
    ("prefix", "The train leaves", ["The train leaves at nine from platform four."]),
    ("suffix", "from platform four.", ["The train leaves at nine from platform four."]),
    ("longer-hyp", "The train leaves at nine from platform four, unless the strike goes on until noon.", ["The train leaves at nine."]),
    ("paraphrase", "Our engineers have repaired the faulty elevators quickly", ["The engineer repairs faulty elevator quickly"]),
    ("stems", "Running runners ran happily, connecting connected connections", ["He runs; the runner is happy to connect the connection"]),
    ("stems-2", "relational conditionally hopping dies skies flying agreed", ["relate condition hop die sky fly agree"]),
    ("numbers", "It costs $1,234.56, or 20% less than 1,500.", ["The cost is $1,234.56 (20% below 1,500)."]),
    ("numbers-dash", "Pages 10-12 and 3-4.5, born 1999-01-02.", ["pages 10 - 12 and 3 - 4.5, born 1999-01-02"]),
    ("decimal-edge", "3.14 .5 5. 1,000 ,5 5, 2.-3", ["3.14 0.5 5 1000 5 5 2 - 3"]),
    ("abbreviations", "Dr. Smith, e.g., of U.S.A. Inc., left...", ["Dr. Smith of USA Inc. left."]),
    ("contractions", "I can't, won't and shouldn't've said it's John's.", ["I cannot and will not have said it is John's."]),
    ("quotes", "\"Stop!\" she said; 'wait', he replied.", ["“Stop!” she said; ‘wait’, he replied."]),
    ("brackets", "f(x) = {a[i] + b} / (c - d) & ~e | g^2", ["f(x)={a[i]+b}/(c-d)&~e|g^2"]),
    ("entities", "Fish &amp; chips &lt;b&gt; &quot;to go&quot; <skipped> now", ["Fish & chips <b> \"to go\" now"]),
    ("url", "See https://example.org/a_b?c=d&e=f#g now", ["See http://example.org/a_b?c=d now"]),
    ("mail", "Write to ann.lee@example.com, please", ["Write to ann.lee@example.com please."]),
    ("underscore", "snake_case_name and CamelCaseName", ["snake case name and Camel Case Name"]),
    ("newlines", "First line.\nSecond line is here.\nThird.", ["Second line was here.\nFirst line.\n\nThird one."]),
    ("crlf", "First line.\r\nSecond line.", ["First line.\nSecond line."]),
    ("hyphen-newline", "an inter-\nnational deal", ["an international deal"]),
    ("tabs", "a\tb\tc  d", ["a b c d"]),
    ("nbsp", "10\u00a0km away\u2003now\u3000then", ["10 km away now then"]),
    ("controls", "one\x1ctwo\x1fthree\x85four\x0bfive", ["one two three four five"]),
    ("zero-width", "zero\u200bwidth joiner\u200d", ["zerowidth joiner"]),
    ("german", "Die Brücke über den Fluss wurde größtenteils erneuert.", ["Die Brücke über den Fluß wurde zum größten Teil erneuert."]),
    ("french", "L’été dernier, nous étions à l'île d'Yeu : c'était « parfait » !", ["L'été passé nous étions sur l’île d’Yeu ; c'était parfait !"]),
    ("spanish", "¿Dónde está la estación? ¡Allí, señor!", ["¿Dónde queda la estación, señor?"]),
    ("turkish", "İstanbul IŞIK ılık İİ", ["istanbul ışık ılık ii"]),
    ("greek", "Η ΟΔΟΣ ΤΟΥ ΣΩΚΡΑΤΟΥΣ ΑΣ", ["η οδος του σωκρατους ας"]),
    ("russian", "Мы вернёмся домой завтра утром.", ["Завтра утром мы вернёмся домой."]),
    ("kelvin", "5 \u212ang \u212bm", ["5 kng åm"]),
    ("chinese", "今天天气很好，我们去公园散步吧。", ["今天天气不错，我们去公园走走吧！"]),
    ("japanese", "私は昨日、新しい本を三冊買いました。", ["昨日、私は新しい本を3冊買った。"]),
    ("korean", "저는 어제 새 책을 세 권 샀습니다.", ["어제 저는 새 책 세 권을 샀어요."]),
    ("thai", "วันนี้อากาศดีมาก", ["วันนี้อากาศไม่ดี"]),
    ("arabic", "ذهبت إلى السوق، واشتريت خبزًا.", ["ذهبتُ إلى السوق واشتريت الخبز؟"]),
    ("hindi", "मैं कल बाज़ार गया था।", ["कल मैं बाज़ार गया।"]),
    ("emoji", "Great job 👍👍🏽 — see you 🎉!", ["Great job 👍 - see you soon 🎉"]),
    ("combining", "cafe\u0301 a\u0301 nai\u0308ve", ["café á naïve"]),
    ("fullwidth", "Ｆｕｌｌ ｗｉｄｔｈ １２３．４５", ["Full width 123.45"]),
    ("math", "∑ x² ≤ 10 → ½ × €5 © 2024™", ["∑x² ≤ 10 ⇒ ½×€5 ©2024"]),
    ("roman-digits", "Ⅷ.٣،٤ a٣.b", ["Ⅷ ٣،٤ a ٣ b"]),
    ("article-edges", "A-an the,An a.m. theory an_other", ["a an the an am theory another"]),
    ("answer", "The Eiffel Tower!", ["Eiffel Tower", "the tower", "Paris"]),
    ("multi", "Unsaved drafts are removed after thirty days", ["Drafts that are not saved get deleted after 30 days", "Unsaved drafts are deleted after thirty days", "After thirty days unsaved drafts go away"]),
    ("multi-length", "one two three four", ["one two", "one two three four five six", "two three"]),
    ("multi-tie", "alpha beta gamma delta epsilon", ["alpha beta gamma", "delta epsilon alpha beta gamma delta epsilon"]),
    ("multi-empty", "some words here", ["", "some other words here"]),
    ("summary", "Profits rose.\nThe board will meet in May.\nProfits rose again.", ["The board meets in May.\nProfits rose sharply, the firm said.", "Profits fell."]),
    ("lcs-ties", "a b c a b c b a c a b", ["b a c b c a a b c b a b c"]),
    ("summary-ties", "a b c a\nb c b a\nc a b", ["b a c b\nc a a b c\nb a b c"]),
    ("summary-strangers", "a x b y c z a\nw b q c q\nc q a", ["b a c b a\nc a a b c\nb a b c"]),
    ("code", "```go\nfunc main() {\n\tfmt.Println(\"hi\")\n}\n```", ["func main() { fmt.Println(\"hello\") }"]),
    ("short-vs-long", "no", [LONG_B]),
    ("long", LONG_A, [LONG_B]),
    ("long-lines", LONG_A.replace(". ", ".\n"), [LONG_B.replace(". ", ".\n")]),
    ("nul", "a\x00b \x00", ["a\x00b"]),
]

BLEUS = {
    "13a": {},
    "none-smoothing": {"smooth_method": "none"},
    "floor": {"smooth_method": "floor"},
    "floor-0.3": {"smooth_method": "floor", "smooth_value": 0.3},
    "add-k": {"smooth_method": "add-k"},
    "add-k-0.5": {"smooth_method": "add-k", "smooth_value": 0.5},
    "intl": {"tokenize": "intl"},
    "char": {"tokenize": "char"},
    "none": {"tokenize": "none"},
    "lowercase": {"lowercase": True},
    "order-2": {"max_ngram_order": 2},
    "order-6": {"max_ngram_order": 6},
}
CHRFS = {
    "chrf": {},
    "chrf++": {"word_order": 2},
    "lowercase": {"lowercase": True},
    "space": {"whitespace": True},
    "nc4-nw1-b3": {"char_order": 4, "word_order": 1, "beta": 3},
}
ROUGES = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]


class NoWordNet:
    """A WordNet without synonyms: METEOR's third stage is off."""

    def synsets(self, _):
        return []


def toks(name, text):
    return _get_tokenizer(name)()(text.rstrip()).split()


def squad_normal(s):
    s = "".join(c for c in s.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())


def squad_f1(hyp, ref):
    h, r = squad_normal(hyp).split(), squad_normal(ref).split()
    same = sum((collections.Counter(h) & collections.Counter(r)).values())
    if same == 0:
        return 0.0
    p, q = same / len(h), same / len(r)
    return 2 * p * q / (p + q)


def corpus_refs(pairs):
    width = max(len(p[2]) for p in pairs)
    return [[(p[2][i] if i < len(p[2]) else None) for p in pairs] for i in range(width)]


def bleu_vectors():
    out = {}
    for name, kw in BLEUS.items():
        eff, cor = BLEU(effective_order=True, **kw), BLEU(**kw)
        sent = {p[0]: eff.sentence_score(p[1], p[2]).score for p in PAIRS}
        plain = {p[0]: cor.sentence_score(p[1], p[2]).score for p in PAIRS}
        eff.sentence_score("a", ["a"])
        esig = str(eff.get_signature())
        one = cor.corpus_score([p[1] for p in PAIRS], [[p[2][0] for p in PAIRS]]).score
        sig1 = str(cor.get_signature())
        every = cor.corpus_score([p[1] for p in PAIRS], corpus_refs(PAIRS)).score
        sigv = str(cor.get_signature())
        out[name] = {"sentence": sent, "plain": plain, "corpus_first": one, "corpus_all": every,
                     "signature_sentence": esig, "signature_first": sig1, "signature_all": sigv}
    return out


def chrf_vectors():
    out = {}
    for name, kw in CHRFS.items():
        m = CHRF(**kw)
        sent = {p[0]: m.sentence_score(p[1], p[2]).score for p in PAIRS}
        one = m.corpus_score([p[1] for p in PAIRS], [[p[2][0] for p in PAIRS]]).score
        sig = str(m.get_signature())
        every = m.corpus_score([p[1] for p in PAIRS], corpus_refs(PAIRS)).score
        out[name] = {"sentence": sent, "corpus_first": one, "corpus_all": every,
                     "signature_first": sig, "signature_all": str(m.get_signature())}
    return out


def ter_vectors():
    m = TER()
    sent = {p[0]: m.sentence_score(p[1], p[2]).score for p in PAIRS}
    one = m.corpus_score([p[1] for p in PAIRS], [[p[2][0] for p in PAIRS]]).score
    every = m.corpus_score([p[1] for p in PAIRS], corpus_refs(PAIRS)).score
    rnd, moved = random.Random(7), []
    for i in range(240):  # phrases cut out and put in elsewhere, among few different words
        ref = [rnd.choice("abcdefghijklmnopqrstuvwxyz"[:rnd.choice([3, 6, 26])]) for _ in range(rnd.choice([1, 3, 8, 20, 60, 130]))]
        hyp = list(ref)
        for _ in range(rnd.randrange(4)):
            at, n = rnd.randrange(len(hyp) + 1), rnd.randrange(1, 14)
            cut, hyp = hyp[at:at + n], hyp[:at] + hyp[at + n:]
            to = rnd.randrange(len(hyp) + 1)
            hyp = hyp[:to] + cut + hyp[to:]
        hyp = [w if rnd.random() < 0.9 else rnd.choice("abcxyz") for w in hyp if rnd.random() < 0.95]
        if i % 40 == 0:
            hyp = hyp * 30
        h, r = " ".join(hyp), " ".join(ref)
        moved.append([h, r, m.sentence_score(h, [r]).score])
    return {"sentence": sent, "corpus_first": one, "corpus_all": every, "moved": moved, "signature": str(m.get_signature())}


def rouge_vectors():
    out = {}
    for key, stem in (("plain", False), ("stemmer", True)):
        scorer = rouge_scorer.RougeScorer(ROUGES, use_stemmer=stem)
        out[key] = {}
        for p in PAIRS:
            got = scorer.score_multi(p[2], p[1])
            out[key][p[0]] = {k: list(map(float, v)) for k, v in got.items()}
    return out


def readme_vectors():
    # The example of the sacreBLEU README.
    sys = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    refs = [["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
            ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]]
    return {"hypotheses": sys, "references": [list(r) for r in zip(*refs)],
            "default": BLEU().corpus_score(sys, refs).score,
            "smooth_none": BLEU(smooth_method="none").corpus_score(sys, refs).score,
            "tok_none": BLEU(tokenize="none").corpus_score(sys, refs).score,
            "intl": BLEU(tokenize="intl").corpus_score(sys, refs).score}


def stem_vectors():
    roots = """abil act adjust agree allow analog angular anim arch argu bat bed bl bowdler buy caress cat ceas celebr
    communic condit conform connect control critic defens depend die differ digit doubl dry economi electr enjoy
    fail fall feed file fit flatt fli fizz formal geo grid happi hiss hop homolog hope imit in inning irrit kind
    lie log mat mo motor nation op oper ous play pony predic probat proceed radic rat relat replac reviv rhythm
    roll rot sens sensit shop siz sky snow spy syzyg tan theo tie tri triplic troubl try valenc vile vex wax whiz
    x y yell yoyo z 3rd 42 über naïv éé""".split()
    ends = """s es ies sses ss ed ied eed ing ings y ly ational tional ation ization izer ator alism alist iveness
    fulness ousness aliti iviti biliti bility ability icate ative alize iciti ical ful fully ness al ance ence er
    ic able ible ant ement ment ent ion ism ate iti ous ive ize e ll lle ying logi logy alli ally entli ently eli
    ely ousli ously enci ency anci ancy bli bly""".split()
    words = list(roots)
    words += [r + e for i, r in enumerate(roots) for j, e in enumerate(ends) if (i + j) % 3 == 0]
    words += ["sky", "skies", "dying", "lying", "tying", "news", "innings", "inning", "outings", "outing", "cannings",
              "canning", "howe", "proceed", "exceed", "succeed", "Running", "IS", "a", "be", "ties", "dies", "died",
              "spied", "agreed", "feed", "yyyy", "yyyyed", "generalizations", "oscillators"]
    st = PorterStemmer()
    return {w: st.stem(w) for w in words}


def main():
    gl = {}
    for tok in ("13a", "none"):
        gl[tok] = {"sentence": {p[0]: sentence_gleu([toks(tok, r) for r in p[2]], toks(tok, p[1])) for p in PAIRS},
                   "corpus": corpus_gleu([[toks(tok, r) for r in p[2]] for p in PAIRS], [toks(tok, p[1]) for p in PAIRS])}
    met = {tok: {p[0]: meteor_score([toks(tok, r) for r in p[2]], toks(tok, p[1]), wordnet=NoWordNet()) for p in PAIRS}
           for tok in ("13a", "none")}
    doc = {
        "source": {k: version(k) for k in ("sacrebleu", "rouge-score", "nltk")},
        "notes": "squad is re-derived from the published SQuAD v1.1 evaluation rules; meteor is nltk's with an empty synonym stage; "
                 "gleu and meteor are given the tokens of sacreBLEU's tokenizer of that name. Written by generate.py.",
        "readme": readme_vectors(),
        "pairs": [{"name": n, "hypothesis": h, "references": r} for n, h, r in PAIRS],
        "tokens": {t: {p[0]: toks(t, p[1]) for p in PAIRS if len(p[1]) < 400} for t in ("13a", "intl", "char", "none")},
        "bleu": bleu_vectors(), "chrf": chrf_vectors(), "gleu": gl, "meteor": met, "rouge": rouge_vectors(), "ter": ter_vectors(),
        "squad": {"normal": {p[0]: squad_normal(p[1]) for p in PAIRS if len(p[1]) < 400},
                  "exact": {p[0]: any(squad_normal(p[1]) == squad_normal(r) for r in p[2]) for p in PAIRS},
                  "f1": {p[0]: max(squad_f1(p[1], r) for r in p[2]) for p in PAIRS}},
    }
    with open(os.path.join(HERE, "vectors.json"), "w") as f:
        json.dump(doc, f, indent=1, ensure_ascii=True, sort_keys=True)
        f.write("\n")
    with open(os.path.join(HERE, "stems.json"), "w") as f:
        json.dump({"source": {"nltk": version("nltk")}, "stems": stem_vectors()}, f, indent=0, ensure_ascii=True, sort_keys=True)
        f.write("\n")


main()
