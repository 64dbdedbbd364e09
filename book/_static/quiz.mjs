// Says below a quiz how many of its questions were answered right at the first try. Without this
// script the quiz works all the same.
for (const quiz of document.querySelectorAll(".quiz")) {
  const questions = [...quiz.querySelectorAll(".quiz-question")];
  const first = new Map(); // question: the choice opened first
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  quiz.append(said);
  // The event of a fold does not rise, but it can be caught on its way down.
  const count = ({ target }) => {
    const question = target.closest(".quiz-question");
    if (!target.matches(".quiz-choice") || first.has(question)) return;
    first.set(question, target);
    const right = [...first.values()].filter((one) => one.matches(".quiz-right")).length;
    said.textContent =
      `${first.size} of ${questions.length} questions answered, ` +
      `${right} right at the first try.`;
  };
  quiz.addEventListener("toggle", count, true);
}
