//! Starts the page.

fn main() {
    glasshouse_web::start();
}
