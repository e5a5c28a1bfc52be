/* Going through the pairs: keys to move, zoom, blink and mark; marks are saved as a file. The page
   is complete without this script, which only adds to it. */
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("review-data").textContent);
  var cards = Array.prototype.slice.call(document.querySelectorAll(".pair"));
  var count = document.getElementById("review-count"), who = document.getElementById("reviewer");
  var now = -1, zoom = 1, blinking = null, key = "lethe-review-" + data.memorization_sha256;
  document.getElementById("review-bar").hidden = false;

  function mark(card) {
    var checked = card.querySelector("input[type=radio]:checked");
    return checked ? checked.value : null;
  }
  function note(card) { return card.querySelector("textarea").value; }

  function tell() {
    var marked = cards.filter(mark).length;
    count.textContent = marked + " of " + cards.length + " marked";
  }
  function keep() {
    tell();
    try {
      localStorage.setItem(key, JSON.stringify({ who: who.value, cards: cards.map(function (card) {
        return { mark: mark(card), note: note(card) }; }) }));
    } catch (refused) { /* a browser that keeps nothing for files: save in time */ }
  }
  function restore() {
    try {
      var kept = JSON.parse(localStorage.getItem(key));
      who.value = kept.who;
      kept.cards.forEach(function (entry, i) {
        if (!cards[i]) return;
        cards[i].querySelector("textarea").value = entry.note;
        if (entry.mark) cards[i].querySelector("input[value=" + entry.mark + "]").checked = true;
      });
    } catch (nothing) { /* nothing was kept */ }
  }

  function still() {
    clearInterval(blinking);
    blinking = null;
    cards.forEach(function (card) {
      card.classList.remove("blink");
      card.querySelectorAll("figure").forEach(function (figure) { figure.classList.remove("hidden"); });
    });
  }
  function blink() {
    if (blinking) { still(); return; }
    var card = cards[now], figures = card.querySelectorAll(".views figure"), shown = 0;
    card.classList.add("blink");
    figures[1].classList.add("hidden");
    blinking = setInterval(function () {
      shown = 1 - shown;
      figures[shown].classList.remove("hidden");
      figures[1 - shown].classList.add("hidden");
    }, 450);
  }
  function go(to) {
    if (to < 0 || to >= cards.length) return;
    still();
    if (now >= 0) cards[now].classList.remove("now");
    now = to;
    cards[now].classList.add("now");
    cards[now].focus({ preventScroll: true });
    cards[now].scrollIntoView({ block: "center" });
  }
  function magnify(by) {
    zoom = Math.min(8, Math.max(1, zoom * by));
    document.documentElement.style.setProperty("--zoom", zoom);
  }
  function choose(value) {
    if (now < 0) return;
    cards[now].querySelector("input[value=" + value + "]").checked = true;
    keep();
  }
  function save() {
    if (!who.value.trim()) { who.focus(); who.reportValidity(); return; }
    var review = {
      schema: "lethe/review/1", name: data.name, memorization_sha256: data.memorization_sha256,
      reviewer: who.value.trim(),
      marks: data.pairs.map(function (pair, i) {
        return { synthetic: pair.synthetic, training: pair.training, mark: mark(cards[i]) || "unmarked",
                 note: note(cards[i]) };
      })
    };
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(review, null, 2) + "\n"],
                                             { type: "application/json" }));
    link.download = "review.json";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  var actions = {
    ArrowRight: function () { go(now + 1); }, j: function () { go(now + 1); },
    ArrowLeft: function () { go(now - 1); }, k: function () { go(now - 1); },
    "+": function () { magnify(1.5); }, "=": function () { magnify(1.5); }, "-": function () { magnify(1 / 1.5); },
    b: function () { if (now >= 0) blink(); },
    1: function () { choose("copy"); }, 2: function () { choose("not_a_copy"); }, 3: function () { choose("unsure"); },
    n: function () { if (now >= 0) cards[now].querySelector("textarea").focus(); },
    s: save
  };
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("textarea, input:not([type=radio])")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    var action = actions[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  document.addEventListener("change", keep);
  document.addEventListener("input", keep);
  document.getElementById("review-save").addEventListener("click", save);
  cards.forEach(function (card, i) { card.addEventListener("click", function () { if (now !== i) go(i); }); });
  restore();
  tell();
}());
