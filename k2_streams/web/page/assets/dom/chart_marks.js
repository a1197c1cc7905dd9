/** What lies behind the bars: incomplete spans, hatched so that they show without colour; levels as a
 *  band at the top; and the line at which the lake ends and the tail begins. */

const HATCH_PX = 7,
  BAND_PX = 4,
  LABEL_PX = 10;

export class ChartMarks {
  #host = null;
  #view = { zOrder: () => "bottom", renderer: () => ({ draw: target => this.#draw(target) }) };
  #views = [this.#view];
  #marks = { spans: [], levels: [], boundary: null };
  #colours = {};

  attached(host) {
    this.#host = host;
  }
  detached() {
    this.#host = null;
  }
  paneViews() {
    return this.#views;
  }

  /** `spans`: `{ from, to }`, bar starts, both inclusive. `levels`: `{ from, to, tone }`.
   *  `boundary`: `{ time, share }` of a bar, or null. */
  show(marks, colours) {
    this.#marks = marks;
    this.#colours = colours;
    this.#host?.requestUpdate();
  }

  #draw(target) {
    if (!this.#host) return;
    const scale = this.#host.chart.timeScale(),
      spacing = scale.options().barSpacing;
    const at = (time, share) => {
      const middle = scale.timeToCoordinate(time);
      return middle === null ? null : middle + (share - 0.5) * spacing;
    };
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      for (const { from, to } of this.#marks.spans)
        this.#hatch(context, at(from, 0), at(to, 1), mediaSize.height);
      for (const { from, to, tone } of this.#marks.levels) {
        const left = at(from, 0),
          right = at(to, 1);
        if (left === null || right === null) continue;
        context.fillStyle = this.#colours[tone];
        context.fillRect(left, 0, right - left, BAND_PX);
      }
      const { boundary } = this.#marks;
      if (boundary) this.#line(context, at(boundary.time, boundary.share), mediaSize);
    });
  }

  #hatch(context, left, right, height) {
    if (left === null || right === null) return;
    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, height);
    context.clip();
    context.fillStyle = this.#colours.spanFill;
    context.fillRect(left, 0, right - left, height);
    context.strokeStyle = this.#colours.spanLine;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = left - height; x < right; x += HATCH_PX) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    context.restore();
  }

  #line(context, x, { width, height }) {
    if (x === null || x < 0 || x > width) return;
    context.strokeStyle = context.fillStyle = this.#colours.boundary;
    context.lineWidth = 1;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, 0);
    context.lineTo(Math.round(x) + 0.5, height);
    context.stroke();
    context.setLineDash([]);
    context.font = `${LABEL_PX}px ${this.#colours.font}`;
    context.textBaseline = "top";
    context.textAlign = "right";
    context.fillText("lake", x - 5, BAND_PX + 4);
    context.textAlign = "left";
    context.fillText("tail", x + 6, BAND_PX + 4);
  }
}
