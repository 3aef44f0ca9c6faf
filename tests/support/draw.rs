//! Drawings in a few frames, which stand side by side where there is room.

/// One state of what is drawn.
pub struct Frame {
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// The shapes.
    pub body: String,
    /// What the page says below it.
    pub text: String,
}

/// A figure of frames of this size. No line may be empty: in a page, that would
/// end the HTML.
pub fn panels(
    name: &str,
    title: &str,
    [width, height]: [i32; 2],
    frames: &[Frame],
) -> String {
    let mut items = String::new();
    for (i, Frame { alt, body, text }) in frames.iter().enumerate() {
        let (n, of) = (i + 1, frames.len());
        let id = format!("{name}-{n}");
        items += &format!(
            "<li>\n<svg role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\" \
             viewBox=\"0 0 {width} {height}\">\n\
             <title id=\"{id}-title\">{title}, {n} of {of}</title>\n\
             <desc id=\"{id}-desc\">{alt}.</desc>\n\
             {body}</svg>\n<p>{text}</p>\n</li>\n"
        );
    }
    format!(
        "<figure class=\"panels\" style=\"--panel: {width}px\">\n\
         <ol>\n{items}</ol>\n<figcaption>{title}</figcaption>\n</figure>"
    )
}

pub fn rect(class: &str, [x, y, width, height]: [i32; 4]) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" \
         height=\"{height}\"/>\n"
    )
}

/// A text whose middle is at `x`.
pub fn text(class: &str, [x, y]: [i32; 2], text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>\n")
}

pub fn line(class: &str, [x1, y1, x2, y2]: [i32; 4]) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" \
         y2=\"{y2}\"/>\n"
    )
}

/// An arrow that runs along one of the two axes.
pub fn arrow(class: &str, [x1, y1, x2, y2]: [i32; 4]) -> String {
    let (dx, dy) = ((x2 - x1).signum() * 7, (y2 - y1).signum() * 7);
    let (x, y) = (x2 - dx, y2 - dy); // the middle of the base of its head
    let (side, down) = (dy / 2, dx / 2);
    format!(
        "<path class=\"{class}\" d=\"M{x1} {y1}L{x} {y}M{x2} {y2}\
         L{} {}L{} {}z\"/>\n",
        x + side,
        y + down,
        x - side,
        y - down
    )
}
