fn main() {
    glasshouse_web::start();
}
